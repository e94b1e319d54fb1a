"""What a build prints: into the job's log as it comes, its tail for the job's `output`."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tinyci.store.writer import StoreWriter
from tinyci.systemd.buildoutput import BuildOutput

LAST_LINES = 3.0
"""Seconds that journald may take for the next line of a build that has ended."""


@dataclass(frozen=True)
class Limits:
    """Bytes that are kept, with their newlines."""

    log: int
    output: int


class Output:
    """The output of one attempt."""

    def __init__(self, store: StoreWriter, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._tail = Tail(limits.output)

    def text(self) -> str:
        """The tail of what was recorded."""
        return self._tail.text()

    async def record(
        self,
        lines: BuildOutput,
        built: asyncio.Event,
        job_id: str,
        log_from: int,
        on_first: Callable[[str], Awaitable[None]],
    ) -> None:
        """Follow the lines to their end, some time after `built`. The first has the number `log_from` + 1 in the log,
        and `on_first` is told it; those that are in it already, from before this process, are not added again."""
        stored, number, size = await self._store.line_count(job_id), log_from, 0
        async for batch in lines.follow(built, LAST_LINES):
            if number == log_from and batch:
                await on_first(batch[0])
            fresh: list[str] = []
            for line in batch:
                self._tail.add(line)
                if size > self._limits.log:
                    continue
                number += 1
                size += len(line.encode()) + 1
                if size > self._limits.log:
                    line = f"[tinyci: {self._limits.log} bytes are kept; the rest: journalctl -t tinyci-build]"
                if number > stored:
                    fresh.append(line)
            if fresh:
                await self._store.add_lines(job_id, number - len(fresh) + 1, fresh)


class Tail:
    """The last lines of a text, of at most so many bytes; says so when something was cut off before them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: deque[str] = deque()
        self._size = 0
        self._cut = False

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line.encode()) + 1
        while self._size > self._most and len(self._lines) > 1:
            self._size -= len(self._lines.popleft().encode()) + 1
            self._cut = True
        if self._size > self._most:  # one line longer than everything that is kept: its end
            kept = line.encode()[1 - self._most :].decode("utf-8", "ignore") if self._most > 1 else ""
            self._lines, self._size, self._cut = deque([kept]), len(kept.encode()) + 1, True

    def text(self) -> str:
        head = ["[tinyci: cut; the whole output is in the job's log]"] if self._cut else []
        return "".join(f"{line}\n" for line in (*head, *self._lines))
