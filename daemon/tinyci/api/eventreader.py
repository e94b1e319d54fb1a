"""The events of all jobs, read by any number of callers as they come (Manager.ReadEvents in org.tinyci1(5))."""

import asyncio
import re
from collections.abc import Mapping
from typing import NamedTuple

from tinyci.api import longpoll
from tinyci.api.jobsource import EventEntry, JobSource
from tinyci.api.longpoll import Deadline, PositionError
from tinyci.store.entryid import order

_NOW = ""
_OLDEST = "0-0"
_NEWEST = 500
"""Number of the newest events that may be asked for, by a `-` and the number."""

_POSITION = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)
_LAST = re.compile(r"-([1-9][0-9]{0,3})", re.ASCII)


class Events(NamedTuple):
    """One answer."""

    position: str
    has_gap: bool
    """True if there were events after the caller's position that are not kept any more."""
    events: list[Mapping[str, str]]


class _Start(NamedTuple):
    """The first place that a call reads at."""

    entry: str
    """Id of the first entry, as XRANGE has it."""
    position: str
    """The position before that, for an answer without events."""
    has_gap: bool = False


class EventReader:
    """All callers that read events."""

    def __init__(self, source: JobSource) -> None:
        self._source = source
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Answer the callers that wait: there is one more event."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def read(self, after: str, *, wait: bool) -> Events:
        """Read the events after a position. Raises PositionError and RequestError."""
        deadline = Deadline()
        start = await self._start(after)
        while True:
            news = self._news  # before the look, so that nothing falls between
            entries = longpoll.fitting(await self._source.events(start.entry, longpoll.COUNT), _size)
            if entries or start.has_gap or not wait or deadline.is_over:
                position = entries[-1][0] if entries else start.position
                return Events(position, start.has_gap, [{**fields, "position": entry} for entry, fields in entries])
            await deadline.wait_for(news)

    async def _start(self, after: str) -> _Start:
        match = _LAST.fullmatch(after)
        newest = int(match[1]) if match else 0
        if newest > _NEWEST or not (after == _NOW or newest or _POSITION.fullmatch(after)):
            raise PositionError(
                f"expected the position that an earlier call returned, {_OLDEST}, a '-' and a number up to {_NEWEST}, "
                "or an empty string"
            )
        if newest:
            entries = await self._source.events("-", newest, newest=True)
            return _Start(entries[0][0] if entries else "-", _OLDEST)
        if after == _OLDEST:
            return _Start("-", _OLDEST)
        last = await self._source.events("-", 1, newest=True)
        if after == _NOW:
            position = last[0][0] if last else _OLDEST
            return _Start(f"({position}", position)
        if not last or order(last[0][0]) < order(after):
            # The position is of another stream than this one.
            return _Start("-", _OLDEST, has_gap=True)
        first = await self._source.events("-", 1)
        return _Start(f"({after}", after, has_gap=bool(first) and order(after) < order(first[0][0]))


def _size(entry: EventEntry) -> int:
    _, fields = entry
    return sum(len(name) + longpoll.size_of_text(text) for name, text in fields.items())
