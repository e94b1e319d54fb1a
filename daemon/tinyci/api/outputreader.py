"""Whoever reads the output of a job: what there is, or what comes next."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tinyci.model.state import FINAL

PATIENCE = 20.0
"""Seconds that a reader waits at most, below every client's time limit for a call."""
_LINES = 500
_BYTES = 256 * 1024
"""Of one answer: what the bus, and the library's writer, carry without anybody waiting for it."""
_AT_ONCE = 4
"""Questions to Redis, however many read."""

_POSITION = re.compile(r"([a-z-]{1,20}) ([0-9]{1,15})", re.ASCII)

LineSource = Callable[[str, int, int], Coroutine[Any, Any, list[tuple[int, str]]]]
"""Lines of a job's log with their numbers, after that number, at most so many (Store.output). Raises RequestError."""


class PositionError(ValueError):
    """A position that no answer has told."""


@dataclass
class _News:
    event: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0


class OutputReader:
    """All of them. They ask again and again, so who is slow holds nothing but his own last answer."""

    def __init__(self, output: LineSource) -> None:
        self._output = output
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._news: dict[str, _News] = {}

    def wake(self, job_id: str) -> None:
        """There are more lines of that job, or it has another state."""
        if news := self._news.pop(job_id, None):
            news.event.set()

    async def read(self, job_id: str, job: Mapping[str, str], after: str, wait: bool) -> tuple[str, list[str], str]:
        """Position, lines, state, as Job.ReadOutput() in jobobject.py tells. `job` is the hash of it, and changes.

        A position is the state that was told with it and the number of the last line. Raises PositionError.
        """
        known, number = "", 0
        if after:
            found = _POSITION.fullmatch(after)
            if not found:
                raise PositionError("expected the position that an earlier call returned, or an empty string")
            known, number = found[1], int(found[2])
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while True:
            with self._news_of(job_id) as news:  # before the look, so that nothing falls between
                state = job.get("state", "")
                lines = await self._lines(job_id, job, number, state)
                if lines or not wait or state in FINAL or state != known or loop.time() >= end:
                    last = lines[-1][0] if lines else number
                    return f"{state} {last}", [line for _, line in lines], state
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(end):
                        await news.wait()

    async def _lines(self, job_id: str, job: Mapping[str, str], after: int, state: str) -> list[tuple[int, str]]:
        async with self._places:
            lines = await self._output(job_id, after, _LINES)
        if not lines and not after and state in FINAL:  # its log is gone, or there never was one
            lines = list(enumerate(job.get("output", "").splitlines(), 1))
        size = 0
        for place, (_, line) in enumerate(lines):
            size += len(line.encode("utf-8", "surrogateescape"))
            if place and size > _BYTES:
                return lines[:place]
        return lines

    @contextmanager
    def _news_of(self, job_id: str) -> Iterator[asyncio.Event]:
        """Set at the next news of a job, which all who read it then have in common."""
        news = self._news.setdefault(job_id, _News())
        news.readers += 1
        try:
            yield news.event
        finally:
            news.readers -= 1
            if not news.readers and self._news.get(job_id) is news:
                del self._news[job_id]
