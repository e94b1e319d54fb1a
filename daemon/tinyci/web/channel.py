"""A channel: what one reader of Redis has for all followers of a job, or of the list of jobs."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tinyci.store.viewer import Line
from tinyci.web.events import LinesEvent, lines_events

_MAX_SIZE = 512 * 1024
"""Characters of events that a channel holds."""


@dataclass
class Channel:
    """The newest events of a job, or of the list."""

    job_id: str
    """Empty for the list."""
    followers: int = 0
    base: int = 0
    """The number of the last line before those of `events`."""
    events: deque[LinesEvent] = field(default_factory=deque)
    size: int = 0
    """Of `events`."""
    state: bytes | None = None
    """The newest event about the job, or the list; None until the first look at Redis."""
    is_over: bool = False
    trouble: str = ""
    """One sentence while Redis is away."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the next change; the change after that sets another one."""

    def publish(self) -> None:
        """Wake all followers."""
        self.news.set()
        self.news = asyncio.Event()

    def add(self, lines: Sequence[Line]) -> None:
        """Append lines, and drop the oldest events when there are too many."""
        for new_event in lines_events(lines):
            self.events.append(new_event)
            self.size += len(new_event.text)
        while self.size > _MAX_SIZE and len(self.events) > 1:
            oldest = self.events.popleft()
            self.size -= len(oldest.text)
            self.base = oldest.last

    @property
    def last(self) -> int:
        """The number of the last line."""
        return self.events[-1].last if self.events else self.base

    def after(self, number: int) -> tuple[bytes, int] | None:
        """The next event after that line, and its last line; None when the channel does not hold it."""
        for each in self.events if number >= self.base else ():
            if each.last > number:
                return each.after(number), each.last
        return None
