"""The budget of all logs in Redis' memory: the oldest go first, and the jobs stay with the end of their output."""

import asyncio
from collections.abc import Iterable

from tinyci.store.writer import StoreWriter


class LogBudget:
    """Drops logs of ended jobs beyond `limit` bytes of Redis' memory."""

    def __init__(self, store: StoreWriter, limit: int) -> None:
        self.limit = limit
        self._store = store
        self._sizes: dict[str, int] = {}
        """Bytes by job id, of logs whose jobs have ended; oldest first."""
        self._total = 0
        """Sum of the sizes: no job's end looks at all of them."""
        self._new_ids: list[str] = []
        """Ended jobs whose logs were not measured yet, oldest first."""
        self._is_full = False
        self._wake = asyncio.Event()

    def add(self, job_ids: Iterable[str]) -> None:
        """Count the logs of these ended jobs, oldest first."""
        self._new_ids += job_ids
        self._wake.set()

    def forget(self, job_ids: Iterable[str]) -> None:
        """Count no log of these jobs any more: they are not kept."""
        for job_id in job_ids:
            self._total -= self._sizes.pop(job_id, 0)

    def set_limit(self, limit: int) -> None:
        self.limit = limit
        self._wake.set()

    def redis_full(self) -> None:
        """Make room: Redis takes no more writes (maxmemory in redis.conf)."""
        self._is_full = True
        self._wake.set()

    async def run(self) -> None:
        """Keep to the limit until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._trim()

    async def _trim(self) -> None:
        new_ids, self._new_ids = self._new_ids, []
        for job_id, size in zip(new_ids, await self._store.log_sizes(new_ids), strict=True):
            self._total += size - self._sizes.pop(job_id, 0)
            if size:
                self._sizes[job_id] = size
        total = self._total
        limit = min(self.limit, total // 2) if self._is_full else self.limit
        self._is_full = False
        surplus_ids: list[str] = []
        oldest_ids = iter(self._sizes)
        while total > limit:
            surplus_ids.append(job_id := next(oldest_ids))
            total -= self._sizes[job_id]
        await self._store.drop_logs(surplus_ids)
        self.forget(surplus_ids)
