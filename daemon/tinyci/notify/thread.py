"""Calls in threads that do not outlive the process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def call_in_thread(function: Callable[..., None], *arguments: Any) -> "asyncio.Future[None]":
    """Call the function in a daemon thread. The process ends without waiting for it; asyncio.to_thread() would wait."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(None)

    def work() -> None:
        error: BaseException | None = None
        try:
            function(*arguments)
        except BaseException as exception:
            error = exception
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=work, daemon=True).start()
    return future
