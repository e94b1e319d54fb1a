"""Long polls: calls that are answered when there is something new, and the limits of their answers.

A reader calls again and again with the position of the last answer, so a slow one holds nothing but its own answer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

PATIENCE = 20.0
"""Seconds until a call without news is answered, below every client's time limit."""
COUNT = 500
"""Lines or events of one answer, at most."""
_BYTES = 256 * 1024
"""Size of one answer: the bus, and the library's writer, carry that without delay for others."""

T = TypeVar("T")
AT_ONCE = 4
"""Questions to Redis at the same time, however many callers read."""


class PositionError(ValueError):
    """The position of a call is none that an answer has had."""


class Places:
    """Places for questions to Redis: each has a connection of its own, and anybody may ask for any number of things."""

    def __init__(self, pause: Callable[[], float]) -> None:
        """`pause`: seconds until callers may cost something again."""
        self._pause = pause
        self._semaphore = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and until callers may cost something: most of the cost comes with the answer."""
        async with self._semaphore:
            if pause := self._pause():
                await asyncio.sleep(pause)
            yield


class Deadline:
    """The end of one call's patience."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + PATIENCE

    @property
    def is_over(self) -> bool:
        return self._loop.time() >= self._end

    async def wait_for(self, event: asyncio.Event) -> None:
        """Return when the event is set or the patience is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._end):
                await event.wait()


def fitting(items: Sequence[T], size_of: Callable[[T], int]) -> Sequence[T]:
    """Return the first items that fit into one answer; at least one, so that every reader gets on."""
    size = 0
    for place, item in enumerate(items):
        size += size_of(item)
        if place and size > _BYTES:
            return items[:place]
    return items


def size_of_text(text: str) -> int:
    """Return the size in bytes, also of text that was not UTF-8."""
    return len(text.encode("utf-8", "surrogateescape"))
