"""A directory whose news are an event: F_NOTIFY of fcntl(2), for which Python needs no library."""

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_NEWS = fcntl.DN_CREATE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT


@contextmanager
def watched(path: str, news: asyncio.Event) -> Iterator[None]:
    """Set the event whenever a file gets its name in the directory, while the block runs in the main thread. One that
    cannot be opened has no news. A process can watch one directory at a time."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGIO, news.set)  # first: without a handler the signal would end the process
    try:
        fcntl.fcntl(descriptor, fcntl.F_NOTIFY, _NEWS)
        yield
    finally:
        os.close(descriptor)
        loop.remove_signal_handler(signal.SIGIO)
