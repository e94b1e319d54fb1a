"""Jobs, their output and their events as callers read them from Redis: in time, or refused."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from tinyci.api.longpoll import Places
from tinyci.api.requests import RequestError
from tinyci.store.writer import StoreError

EventEntry = tuple[str, Mapping[str, str]]
"""Id of an entry in the stream of events, and its fields."""
LogLine = tuple[int, str]
"""Number of a line in a job's log, from 1, and its text."""

T = TypeVar("T")

_PATIENCE = 5.0
"""Seconds that Redis has for an answer."""


class JobStore(Protocol):
    """The methods of StoreWriter that are needed here. They wait for Redis, however long, and may raise StoreError."""

    async def job(self, job_id: str) -> Mapping[str, str]:
        """Read the hash of a job, empty if there is none."""

    async def is_new(self, job_id: str) -> bool:
        """Return True if the hook has added a job that is not accepted yet."""

    async def lines(self, job_id: str, after: int, count: int) -> Sequence[LogLine]:
        """Read at most `count` lines of a job's log that come after a number."""

    async def events(self, start: str, count: int, *, newest: bool) -> Sequence[EventEntry]:
        """Read at most `count` entries from an id on, the first or the newest; `(` before the id leaves out its own
        (XRANGE)."""


class JobSource:
    """A store that answers in time: all methods raise RequestError if Redis does not. A key of another type reads as
    empty."""

    def __init__(self, store: JobStore, pause: Callable[[], float] = lambda: 0) -> None:
        """`pause`: seconds until callers may cost something again."""
        self._store = store
        # Those who wait for output or events, with much to read, hold up nobody who asks for a job.
        self._job_places, self._line_places, self._event_places = (Places(pause) for _ in range(3))

    async def job(self, job_id: str) -> Mapping[str, str]:
        async with self._job_places.place():
            return await _in_time(self._store.job(job_id)) or {}

    async def is_new(self, job_id: str) -> bool:
        async with self._job_places.place():
            return bool(await _in_time(self._store.is_new(job_id)))

    async def lines(self, job_id: str, after: int, count: int) -> Sequence[LogLine]:
        async with self._line_places.place():
            return await _in_time(self._store.lines(job_id, after, count)) or []

    async def events(self, start: str, count: int, *, newest: bool = False) -> Sequence[EventEntry]:
        async with self._event_places.place():
            return await _in_time(self._store.events(start, count, newest=newest)) or []


async def _in_time(answer: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await answer
    except TimeoutError:
        raise RequestError("Unavailable", "Redis does not answer; ask again when it is back") from None
    except StoreError:
        return None
