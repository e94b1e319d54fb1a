"""The output of jobs, read by any number of callers as it comes (Job.ReadOutput in org.tinyci1(5))."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from tinyci.api import longpoll
from tinyci.api.jobsource import JobSource, LogLine
from tinyci.api.longpoll import Deadline, PositionError
from tinyci.model.state import is_final

_POSITION = re.compile(r"([a-z-]{1,20}) ([0-9]{1,15})", re.ASCII)


class Output(NamedTuple):
    """One answer."""

    position: str
    """The state, and the number of the last line: the news of the next call are counted from both."""
    lines: list[str]
    state: str


@dataclass
class _News:
    """The next news of one job, for all callers that wait for it."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0


class OutputReader:
    """All callers that read output."""

    def __init__(self, source: JobSource) -> None:
        self._source = source
        self._news: dict[str, _News] = {}
        """By id of the job; only of jobs that a caller waits for."""

    def wake(self, job_id: str) -> None:
        """Answer the callers that wait: the job has more lines, or another state."""
        if news := self._news.pop(job_id, None):
            news.event.set()

    async def read(self, job_id: str, fields: Mapping[str, str], after: str, *, wait: bool) -> Output:
        """Read the lines after a position, or from the first one if it is empty. `fields` is the hash of the job, and
        changes while the call waits. Raises PositionError and RequestError."""
        last_state, number = _parse(after)
        deadline = Deadline()
        while True:
            with self._news_of(job_id) as news:  # before the look, so that nothing falls between
                state = fields.get("state", "")
                lines = await self._lines(job_id, fields, number, state)
                if lines or not wait or is_final(state) or state != last_state or deadline.is_over:
                    last = lines[-1][0] if lines else number
                    return Output(f"{state} {last}", [line for _, line in lines], state)
                await deadline.wait_for(news)

    async def _lines(self, job_id: str, fields: Mapping[str, str], after: int, state: str) -> Sequence[LogLine]:
        lines = await self._source.lines(job_id, after, longpoll.COUNT)
        if not lines and not after and is_final(state):  # its log is gone, or there never was one
            lines = list(enumerate(fields.get("output", "").splitlines(), 1))
        return longpoll.fitting(lines, lambda line: longpoll.size_of_text(line[1]))

    @contextmanager
    def _news_of(self, job_id: str) -> Iterator[asyncio.Event]:
        news = self._news.setdefault(job_id, _News())
        news.readers += 1
        try:
            yield news.event
        finally:
            news.readers -= 1
            if not news.readers and self._news.get(job_id) is news:
                del self._news[job_id]


def _parse(position: str) -> tuple[str, int]:
    """Return the state and the number of a position. Raises PositionError."""
    if not position:
        return "", 0
    match = _POSITION.fullmatch(position)
    if not match:
        raise PositionError("expected the position that an earlier call returned, or an empty string")
    return match[1], int(match[2])
