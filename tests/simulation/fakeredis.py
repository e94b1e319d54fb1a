"""A Redis in memory, and a StoreWriter on it, for a simulation in which server and clients die at any moment."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from tinyci.model.job import ID_MAX, fields_of_hook
from tinyci.model.retention import KeptJob
from tinyci.model.state import FINAL
from tinyci.model.timestamp import seconds
from tinyci.store.listener import StoreListener

T = TypeVar("T")

_BLOCK = 5.0
"""Seconds that take() waits for a job."""

OnWrite = Callable[[str, Mapping[str, str], Mapping[str, str]], None]
"""Called before a write with the job's id, its hash, and the fields that are about to be written."""


class FakeRedis:
    """The data of the server. It survives clients, and crashes of the server."""

    def __init__(self, time: Callable[[], float], on_write: OnWrite = lambda *_: None) -> None:
        self.time = time
        self.on_write = on_write
        self.queue: list[str] = []
        """Oldest first, as are all lists here."""
        self.accepted: list[str] = []
        self.hashes: dict[str, dict[str, str]] = {}
        self.new: dict[str, dict[str, str]] = {}
        """Hashes of the hook's that were not admitted."""
        self.index: dict[str, float] = {}
        self.logs: dict[str, dict[int, str]] = {}
        self.events: list[tuple[str, str]] = []
        self.paused = False
        self.up = asyncio.Event()
        self.up.set()
        self.job_added = asyncio.Event()
        self.crashes = 0

    def push(self, job_id: str, fields: Mapping[str, str], created: float | None = None) -> None:
        """Queue a job as the hook does; without `created`, as a shell script with the daemon's account does."""
        if fields:
            hashes = self.hashes if created is None else self.new
            hashes.setdefault(job_id, {}).update(fields)
        self.queue.append(job_id)
        self.job_added.set()

    def indexed(self) -> list[tuple[float, str]]:
        """Ids with their times, oldest first."""
        return sorted((created, job_id) for job_id, created in self.index.items())

    def crash(self) -> None:
        """End the server; no answer that is on its way arrives."""
        self.up.clear()
        self.crashes += 1
        self.job_added.set()

    def start(self) -> None:
        self.up.set()


class FakeStore:
    """StoreWriter's methods on a FakeRedis. `travel`: takes a request or an answer there; it may raise instead."""

    def __init__(
        self,
        redis: FakeRedis,
        travel: Callable[[], Awaitable[None]],
        listener: StoreListener | None = None,
    ) -> None:
        self._redis = redis
        self._travel = travel
        self._listener = listener or StoreListener()
        self._away = False

    async def close(self) -> None:
        pass

    async def ping(self) -> None:
        await self._do(lambda: None)

    async def take(self) -> str | None:
        redis = self._redis
        loop = asyncio.get_running_loop()
        end = loop.time() + _BLOCK

        def command() -> str | None:
            if not redis.queue:
                redis.job_added.clear()
                return None
            job_id = redis.queue.pop(0)
            redis.accepted.append(job_id)
            return job_id

        while True:
            if (job_id := await self._do(command)) is not None or loop.time() >= end:
                return job_id
            try:
                async with asyncio.timeout_at(end):
                    await redis.job_added.wait()
            except TimeoutError:
                return None

    async def take_more(self, most: int) -> tuple[list[str], list[int]]:
        redis = self._redis

        def command() -> tuple[list[str], list[int]]:
            texts, redis.queue = redis.queue[:most], redis.queue[most:]
            ids = [text for text in texts if len(text) <= ID_MAX]
            redis.accepted += ids
            return ids, [len(text) for text in texts if len(text) > ID_MAX]

        return await self._do(command)

    async def accepted_ids(self) -> list[str]:
        return await self._do(lambda: list(self._redis.accepted))

    async def live_ids(self, job_ids: Sequence[str]) -> set[str]:
        waiting = await self._do(lambda: set(job_ids) & set(self._redis.queue)) if job_ids else set()
        return waiting | set(await self.accepted_ids())

    async def admit(self, job_ids: Sequence[str], now: float) -> dict[str, dict[str, str]]:
        def command(job_id: str) -> dict[str, str]:
            if fields := self._redis.hashes.get(job_id):
                return dict(fields)
            fields = fields_of_hook(self._redis.new.pop(job_id, {}), now)
            if fields:
                self._redis.hashes[job_id] = fields
                self._redis.index[job_id] = seconds(fields.get("created", "")) or now
            return dict(fields)

        return await self._do(lambda: {job_id: command(job_id) for job_id in job_ids})

    async def new_ids(self) -> set[str]:
        return await self._do(lambda: set(self._redis.new))

    async def forget_new(self, job_id: str) -> None:
        def command() -> None:
            self._redis.new.pop(job_id, None)

        await self._do(command)

    async def queue_length(self) -> int:
        return await self._do(lambda: len(self._redis.queue))

    async def job(self, job_id: str) -> dict[str, str]:
        return await self._do(lambda: dict(self._redis.hashes.get(job_id, {})))

    async def recent_ids(self, count: int) -> list[str]:
        return await self._do(lambda: [job_id for _, job_id in self._redis.indexed()][::-1][:count])

    async def add(self, job_id: str, fields: Mapping[str, str], created: float) -> bool:
        def command() -> bool:
            old = self._redis.hashes.get(job_id, {})
            is_listed = job_id in (*self._redis.queue, *self._redis.accepted)
            if (old or job_id in self._redis.new) and ("state" in old or is_listed):
                return False
            self._redis.new.pop(job_id, None)
            self._redis.hashes[job_id] = {**old, **fields}
            self._redis.index[job_id] = created
            self._redis.accepted.append(job_id)
            return True

        return await self._do(command)

    async def is_paused(self) -> bool:
        return await self._do(lambda: self._redis.paused)

    async def set_paused(self, *, paused: bool) -> None:
        def command() -> None:
            self._redis.paused = paused

        await self._do(command)

    async def kept_jobs(self) -> list[KeptJob]:
        def command() -> list[KeptJob]:
            rows = []
            for score, job_id in self._redis.indexed():
                fields = self._redis.hashes.get(job_id, {})
                names = KeptJob._fields[1:]
                values = {name: fields.get(name, "") for name in names if name != "time"}
                rows.append(KeptJob(id=job_id, time=score, **values))
            return rows

        return await self._do(command)

    async def forget(self, job_ids: Sequence[str]) -> None:
        def command() -> None:
            for job_id in job_ids:
                for of_jobs in (self._redis.hashes, self._redis.index, self._redis.logs):
                    of_jobs.pop(job_id, None)

        await self._do(command)

    async def update(self, job_id: str, fields: Mapping[str, str]) -> bool:
        return (await self.update_all({job_id: fields}))[job_id]

    async def update_all(self, changes: Mapping[str, Mapping[str, str]]) -> dict[str, bool]:
        def command(job_id: str, fields: Mapping[str, str]) -> bool:
            old = self._redis.hashes.get(job_id, {})
            if all(old.get(name) == value for name, value in fields.items()):
                return True
            if old.get("state") in FINAL:
                return False
            self._redis.on_write(job_id, old, fields)
            self._redis.hashes[job_id] = {**old, **fields}
            if "state" in fields:
                self._redis.index.setdefault(job_id, self._redis.time())
                self._redis.events.append((job_id, fields["state"]))
            return True

        return await self._do(lambda: {job_id: command(job_id, fields) for job_id, fields in changes.items()})

    async def log_sizes(self, job_ids: Sequence[str]) -> list[int]:
        def command() -> list[int]:
            return [sum(map(len, self._redis.logs.get(job_id, {}).values())) for job_id in job_ids]

        return await self._do(command)

    async def drop_logs(self, job_ids: Sequence[str]) -> None:
        def command() -> None:
            for job_id in job_ids:
                self._redis.logs.pop(job_id, None)

        await self._do(command)

    async def accept(self, job_id: str) -> None:
        def command() -> None:
            if job_id not in self._redis.accepted:
                self._redis.accepted.append(job_id)

        await self._do(command)

    async def release(self, *job_ids: str) -> None:
        def command() -> None:
            self._redis.accepted = [each for each in self._redis.accepted if each not in job_ids]

        await self._do(command)

    async def line_count(self, job_id: str) -> int:
        return await self._do(lambda: max(self._redis.logs.get(job_id, {}), default=0))

    async def add_lines(self, job_id: str, first: int, lines: Sequence[str]) -> None:
        def command() -> None:
            log = self._redis.logs.setdefault(job_id, {})
            for number, line in enumerate(lines, first):
                if number > max(log, default=0):
                    log[number] = line

        await self._do(command)

    async def _do(self, command: Callable[[], T]) -> T:
        """Run the command and return its answer; again until an answer arrives, as StoreWriter does."""
        while True:
            await self._travel()
            crashes = self._redis.crashes
            if self._redis.up.is_set():
                answer = command()
                await self._travel()
                if self._redis.crashes == crashes:
                    if self._away:
                        self._away = False
                        self._listener.redis_back()
                    return answer
            if not self._away:
                self._away = True
                self._listener.redis_away("it crashed")
            await self._redis.up.wait()
