"""Reading the journal: permission, news, and the fields of an entry. Source: sd_journal_get_data(3)."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

from systemd import journal


class JournalError(Exception):
    """The journal cannot be read; one sentence."""


def check_readable() -> None:
    """Raise JournalError when this process may not read the journal: for a reader without permission it is empty."""
    try:
        with journal.Reader(flags=journal.SYSTEM_ONLY) as reader:
            reader.seek_head()
            is_empty = not reader.get_next()
    except OSError as error:
        raise JournalError(f"the journal cannot be read: {error.strerror or error}") from None
    if is_empty:
        raise JournalError("the journal cannot be read: expected SupplementaryGroups=systemd-journal in tinyci.service")


@contextmanager
def reader_with_news() -> Iterator[tuple[journal.Reader, asyncio.Event]]:
    """A reader, and an event that is set when journald may have stored more.

    Clear it, then call reader.process() before reading: entries that come later set it again.
    """
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    watch = -1
    try:
        with journal.Reader() as reader:
            watch = os.dup(reader.fileno())
            loop.add_reader(watch, event.set)
            try:
                yield reader, event
            finally:
                loop.remove_reader(watch)
    finally:
        if watch >= 0:  # the last descriptor of an inotify(7) takes the kernel 10 ms to close, which is for a thread
            loop.run_in_executor(None, os.close, watch)


def field(reader: journal.Reader, name: str) -> bytes:
    """A field of the entry that the reader is at; empty when it has none.

    The library's public call decodes all thirty fields of an entry, which takes five times as long as two of these.
    """
    try:
        value = reader._get(name)
    except KeyError:
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


def decode(line: bytes) -> str:
    r"""Text of a line, nothing lost: bytes that are not UTF-8 as `\xNN`."""
    return line.decode("utf-8", "backslashreplace")
