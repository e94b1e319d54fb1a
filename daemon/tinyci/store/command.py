"""A command to Redis in a task of its own, whatever becomes of the one that waits for it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def detached(command: Awaitable[T], *, finish: bool = False) -> T:
    """Return the reply. A cancellation returns at once: in Python 3.11 the library can swallow one.

    The command is then cancelled too; with `finish` it goes on to its end, for a connection that others use next.
    """
    task = asyncio.ensure_future(command)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # after a cancellation nobody looks
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        if not finish:
            task.cancel()
        raise
    return task.result()
