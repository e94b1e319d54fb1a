"""The output of a build: into the job's log as it comes, its tail for the job's `output`."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tinyci.store.writer import StoreWriter
from tinyci.systemd.buildoutput import BuildOutput
from tinyci.systemd.journal import JournalError

LAST_LINES = 5.0
"""Seconds that journald may take for the next line of a build that has ended."""


@dataclass(frozen=True)
class Limits:
    """Bytes that are kept, with their newlines."""

    log: int
    output: int


class Output:
    """The output of one attempt."""

    def __init__(self, store: StoreWriter, limits: Limits, line_count: int | None = None) -> None:
        """`line_count`: lines in the job's log, if that is known: nobody else adds some."""
        self._store = store
        self._limits = limits
        self._tail = Tail(limits.output)
        self._stored_count = line_count
        """Lines in the job's log from before; None until that is known."""
        self._number = 0
        """Number of the last line in the log."""
        self._size = 0
        """Bytes of this attempt in the log."""

    def text(self) -> str:
        """The tail of the recorded output."""
        return self._tail.text()

    def add_note(self, sentence: str) -> None:
        """Add a line of tinyci's own."""
        self._tail.add(f"[tinyci: {sentence}]")

    async def record(
        self,
        lines: BuildOutput,
        build_end: asyncio.Event,
        job_id: str,
        log_from: int,
        on_first: Callable[[str], Awaitable[None]],
    ) -> None:
        """Follow the lines to their end, some time after `build_end`. The first one has the number `log_from` + 1 in
        the log, and goes to `on_first`. Lines that are in the log, from before this process, are not added again."""
        if self._stored_count is None:
            self._stored_count = await self._store.line_count(job_id)
        self._number, self._size = log_from, 0
        try:
            async for batch in lines.follow(build_end, LAST_LINES):
                if self._number == log_from and batch:
                    await on_first(batch[0])
                await self._add(job_id, batch)
        except JournalError as error:  # the result of the build stands without its output
            await self._add(job_id, [f"[tinyci: {error}; the output may be incomplete]"])

    async def _add(self, job_id: str, lines: Sequence[str]) -> None:
        self._tail.extend(lines)
        new_lines: list[str] = []
        for line in lines:
            if self._size > self._limits.log:
                break
            self._number += 1
            self._size += len(line.encode()) + 1
            if self._size > self._limits.log:
                line = f"[tinyci: {self._limits.log} bytes are kept; the rest: journalctl -t tinyci-build]"
            if self._number > (self._stored_count or 0):
                new_lines.append(line)
        if new_lines:
            await self._store.add_lines(job_id, self._number - len(new_lines) + 1, new_lines)


class Tail:
    """The last lines of a text, at most `max_size` bytes, after a note when lines were cut off."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._lines: deque[str] = deque()
        self._size = 0
        self._is_cut = False

    def extend(self, lines: Sequence[str]) -> None:
        """Add lines; of many, those that would be cut off at once cost nothing."""
        size, begin = 0, len(lines)
        while begin and size <= self._max_size:
            begin -= 1
            size += len(lines[begin]) + 1  # at least as many bytes
        self._is_cut = self._is_cut or begin > 0
        for line in lines[begin:]:
            self.add(line)

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line.encode()) + 1
        while self._size > self._max_size and len(self._lines) > 1:
            self._size -= len(self._lines.popleft().encode()) + 1
            self._is_cut = True
        if self._size > self._max_size:  # one line is longer than the whole tail: keep its end
            end = line.encode()[1 - self._max_size :].decode("utf-8", "ignore") if self._max_size > 1 else ""
            self._lines, self._size, self._is_cut = deque([end]), len(end.encode()) + 1, True

    def text(self) -> str:
        head = ["[tinyci: cut; the whole output is in the job's log]"] if self._is_cut else []
        return "".join(f"{line}\n" for line in (*head, *self._lines))
