"""Whoever reads the events: what there is of them, or what comes next."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from tinyci.api.outputreader import PATIENCE, PositionError

NOW = ""
OLDEST = "0-0"
NEWEST = 500
"""How many of the newest events may be asked for, by a `-` and their number."""
_COUNT = 500
_BYTES = 256 * 1024
"""Of one answer; see reading.py."""
_AT_ONCE = 4

_POSITION = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)
_LAST = re.compile(r"-([1-9][0-9]{0,3})", re.ASCII)

EventEntry = tuple[str, dict[str, str]]
EventSource = Callable[[str, int, bool], Coroutine[Any, Any, list[EventEntry]]]
"""Entries from that id on (as XRANGE has it), at most so many, the first or the last ones (Store.events)."""


class EventReader:
    """All of them. They ask again and again, so who is slow holds nothing but his own last answer."""

    def __init__(self, events: EventSource) -> None:
        self._events = events
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is one more event."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def read(self, after: str, wait: bool) -> tuple[str, bool, list[dict[str, str]]]:
        """Position, whether events were missed, events, as Manager.ReadEvents() in managerobject.py tells. Raises
        PositionError."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        start, position, missed = await self._start(after)
        while True:
            news = self._news  # before the look, so that nothing falls between
            entries = _fitting(await self._ask(start, _COUNT))
            if entries or missed or not wait or loop.time() >= end:
                told = entries[-1][0] if entries else position
                return told, missed, [{**values, "position": number} for number, values in entries]
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await news.wait()

    async def _start(self, after: str) -> tuple[str, str, bool]:
        """From where on to read, the position before that, and whether there were events in between that are gone."""
        newest = int(found[1]) if (found := _LAST.fullmatch(after)) else 0
        if newest > NEWEST or not (after == NOW or newest or _POSITION.fullmatch(after)):
            raise PositionError(
                f"expected the position that an earlier call returned, {OLDEST}, a '-' and a number up to {NEWEST}, "
                "or an empty string"
            )
        if newest:
            entries = await self._ask("-", newest, newest=True)
            return (entries[0][0], OLDEST, False) if entries else ("-", OLDEST, False)
        if after == OLDEST:
            return "-", OLDEST, False
        last = await self._ask("-", 1, newest=True)
        if after == NOW:
            position = last[0][0] if last else OLDEST
            return f"({position}", position, False
        if not last or _number(last[0][0]) < _number(after):
            # Another stream than the one that the position is of.
            return "-", OLDEST, True
        first = await self._ask("-", 1)
        return f"({after}", after, bool(first) and _number(after) < _number(first[0][0])

    async def _ask(self, start: str, count: int, newest: bool = False) -> list[EventEntry]:
        async with self._places:
            return await self._events(start, count, newest)


def _fitting(entries: list[EventEntry]) -> list[EventEntry]:
    size = 0
    for place, (_, values) in enumerate(entries):
        size += sum(len(name) + len(text.encode("utf-8", "surrogateescape")) for name, text in values.items())
        if place and size > _BYTES:
            return entries[:place]
    return entries


def _number(position: str) -> tuple[int, int]:
    time, _, count = position.partition("-")
    return int(time), int(count)
