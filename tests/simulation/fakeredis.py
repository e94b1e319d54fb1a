"""A Redis in memory, and a StoreWriter of it, for a simulation in which server and clients die at any moment."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from tinyci.model.retention import KeptJob
from tinyci.model.state import FINAL

T = TypeVar("T")

_BLOCK = 5.0
"""Seconds that take() waits for a job."""

Written = Callable[[str, Mapping[str, str], Mapping[str, str]], None]
"""Hears of an id, the hash that it had, and the fields that are about to be written."""


class FakeRedis:
    """What the server holds. It survives its clients, and its own crashes."""

    def __init__(self, time: Callable[[], float], on_write: Written = lambda *_: None) -> None:
        self.time = time
        self.on_write = on_write
        self.queue: list[str] = []
        """Oldest first, as are all lists here."""
        self.accepted: list[str] = []
        self.hashes: dict[str, dict[str, str]] = {}
        self.index: dict[str, float] = {}
        self.logs: dict[str, dict[int, str]] = {}
        self.events: list[tuple[str, str]] = []
        self.paused = False
        self.up = asyncio.Event()
        self.up.set()
        self.pushed = asyncio.Event()
        self.crashes = 0

    def push(self, job_id: str, fields: Mapping[str, str], created: float | None = None) -> None:
        """As the hook does; without `created` as a shell script does."""
        if fields:
            self.hashes.setdefault(job_id, {}).update(fields)
        if created is not None:
            self.index[job_id] = created
        self.queue.append(job_id)
        self.pushed.set()

    def indexed(self) -> list[tuple[float, str]]:
        """Ids with their times, oldest first."""
        return sorted((created, job_id) for job_id, created in self.index.items())

    def crash(self) -> None:
        """Whoever waits for an answer does not get one."""
        self.up.clear()
        self.crashes += 1
        self.pushed.set()

    def start(self) -> None:
        self.up.set()


class FakeStore:
    """As StoreWriter. `way`: what a request or an answer goes, some turns of the loop; it may not arrive."""

    def __init__(
        self,
        memory: FakeRedis,
        way: Callable[[], Awaitable[None]],
        on_outage: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._memory = memory
        self._way = way
        self._on_outage = on_outage
        self._away = False

    async def close(self) -> None:
        pass

    async def ping(self) -> None:
        await self._do(lambda: None)

    async def take(self) -> str | None:
        memory = self._memory
        loop = asyncio.get_running_loop()
        end = loop.time() + _BLOCK

        def once() -> str | None:
            if not memory.queue:
                memory.pushed.clear()
                return None
            job_id = memory.queue.pop(0)
            memory.accepted.append(job_id)
            return job_id

        while True:
            if (job_id := await self._do(once)) is not None or loop.time() >= end:
                return job_id
            try:
                async with asyncio.timeout_at(end):
                    await memory.pushed.wait()
            except TimeoutError:
                return None

    async def accepted_ids(self) -> list[str]:
        return await self._do(lambda: list(self._memory.accepted))

    async def live_ids(self) -> set[str]:
        waiting = await self._do(lambda: list(self._memory.queue))
        return {*waiting, *await self.accepted_ids()}

    async def queue_length(self) -> int:
        return await self._do(lambda: len(self._memory.queue))

    async def job(self, job_id: str) -> dict[str, str]:
        return await self._do(lambda: dict(self._memory.hashes.get(job_id, {})))

    async def recent_ids(self, count: int) -> list[str]:
        return await self._do(lambda: [job_id for _, job_id in self._memory.indexed()][::-1][:count])

    async def add(self, job_id: str, fields: Mapping[str, str], created: float) -> bool:
        def once() -> bool:
            there = self._memory.hashes.get(job_id, {})
            leads_to_it = job_id in (*self._memory.queue, *self._memory.accepted)
            if there and ("state" in there or leads_to_it):
                return False
            self._memory.hashes[job_id] = {**there, **fields}
            self._memory.index[job_id] = created
            self._memory.accepted.append(job_id)
            return True

        return await self._do(once)

    async def is_paused(self) -> bool:
        return await self._do(lambda: self._memory.paused)

    async def set_paused(self, *, paused: bool) -> None:
        def once() -> None:
            self._memory.paused = paused

        await self._do(once)

    async def kept_jobs(self) -> list[KeptJob]:
        def once() -> list[KeptJob]:
            rows = []
            for score, job_id in self._memory.indexed():
                values = self._memory.hashes.get(job_id, {})
                shown = (values.get(name, "") for name in ("repo", "ref", "state", "created", "image"))
                rows.append(KeptJob(job_id, *shown, score))
            return rows

        return await self._do(once)

    async def forget(self, job_ids: Sequence[str]) -> None:
        def once() -> None:
            for job_id in job_ids:
                for of_jobs in (self._memory.hashes, self._memory.index, self._memory.logs):
                    of_jobs.pop(job_id, None)

        await self._do(once)

    async def update(self, job_id: str, fields: Mapping[str, str]) -> bool:
        def once() -> bool:
            there = self._memory.hashes.get(job_id, {})
            if all(there.get(name) == value for name, value in fields.items()):
                return True
            if there.get("state") in FINAL:
                return False
            self._memory.on_write(job_id, there, fields)
            self._memory.hashes[job_id] = {**there, **fields}
            if "state" in fields:
                self._memory.index.setdefault(job_id, self._memory.time())
                self._memory.events.append((job_id, fields["state"]))
            return True

        return await self._do(once)

    async def release(self, job_id: str) -> None:
        def once() -> None:
            self._memory.accepted = [each for each in self._memory.accepted if each != job_id]

        await self._do(once)

    async def line_count(self, job_id: str) -> int:
        return await self._do(lambda: max(self._memory.logs.get(job_id, {}), default=0))

    async def add_lines(self, job_id: str, first: int, lines: Sequence[str]) -> None:
        def once() -> None:
            log = self._memory.logs.setdefault(job_id, {})
            for number, line in enumerate(lines, first):
                if number > max(log, default=0):
                    log[number] = line

        await self._do(once)

    async def _do(self, once: Callable[[], T]) -> T:
        """Once it is carried out, whether the answer arrives or not; then again, as StoreWriter does."""
        while True:
            await self._way()
            crashes = self._memory.crashes
            if self._memory.up.is_set():
                answer = once()
                await self._way()
                if self._memory.crashes == crashes:
                    if self._away:
                        self._away = False
                        self._on_outage(None)
                    return answer
            if not self._away:
                self._away = True
                self._on_outage("it crashed")
            await self._memory.up.wait()
