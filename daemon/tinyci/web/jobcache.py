"""A cache of all kept jobs: those that have ended are read from Redis once."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tinyci.model import timestamp
from tinyci.store.viewer import IndexEntry, StoreViewer
from tinyci.web.jobview import FIELD_NAMES, JobView

_HEAD = 100
_WHOLE = 30.0
"""Seconds after which the whole index is read again, whatever its head says."""


@dataclass(frozen=True, slots=True)
class IndexedJob:
    """A job with its entry in the index."""

    job: JobView
    time: float
    """Seconds since the epoch, by the index."""
    id: str
    """Any text that the index has."""


class JobCache:
    """All kept jobs, newest first. Methods raise ViewerError."""

    def __init__(self, viewer: StoreViewer, clock: Callable[[], float] = time.monotonic) -> None:
        self._viewer = viewer
        self._clock = clock
        self._lock = asyncio.Lock()
        self._index: list[IndexEntry] = []
        self._index_time = -_WHOLE
        """When the whole index was read last."""
        self._final: dict[str, IndexedJob] = {}
        """Jobs that have ended, by id: nothing of them changes any more."""
        self._jobs: list[IndexedJob] = []
        self._jobs_time = -1.0
        """When the reading of `_jobs` began."""

    async def jobs(self) -> list[IndexedJob]:
        """The jobs as they are now. The caller must not change the list."""
        request_time = self._clock()
        async with self._lock:  # all who wait for a look share the next one
            if self._jobs_time < request_time:
                begin = self._clock()
                self._jobs = await self._with_new_jobs(await self._read_jobs())
                self._jobs_time = begin
            return self._jobs

    async def ids(self) -> list[str]:
        """Ids of all kept jobs, newest first."""
        return [entry.id for entry in await self.jobs()]

    async def _read_jobs(self) -> list[IndexedJob]:
        index = await self._read_index()
        missing = [entry.id for entry in index if entry.id not in self._final]
        hashes = dict(zip(missing, await self._viewer.hashes(missing, FIELD_NAMES), strict=True))
        jobs = []
        for entry in index:
            indexed_job = self._final.get(entry.id) or IndexedJob(
                JobView(entry.id, hashes[entry.id], entry.time), entry.time, entry.id
            )
            if indexed_job.job.is_final:
                self._final[entry.id] = indexed_job
            jobs.append(indexed_job)
        if len(self._final) > len(jobs):
            ids = {entry.id for entry in index}
            self._final = {job_id: job for job_id, job in self._final.items() if job_id in ids}
        return jobs

    async def _with_new_jobs(self, jobs: list[IndexedJob]) -> list[IndexedJob]:
        """Add the jobs that the daemon has not taken yet: while it is down, they are what people look for."""
        ids = {entry.id for entry in jobs}
        new_jobs = []
        for job_id in await self._viewer.new_ids():
            if job_id not in ids and (fields := await self._viewer.new_job(job_id)):
                creation = timestamp.seconds(fields.get("created", "")) or time.time()
                new_jobs.append(IndexedJob(JobView(job_id, fields, creation), creation, job_id))
        return sorted(new_jobs + jobs, key=lambda job: (job.time, job.id), reverse=True) if new_jobs else jobs

    async def _read_index(self) -> list[IndexEntry]:
        """The index: its head, and the rest only when the head and the number of entries do not explain each other."""
        now = self._clock()
        if now - self._index_time < _WHOLE:
            head, card = await self._viewer.newest(_HEAD)
            if len(head) == card:
                self._index = head
                return head
            places = {entry.id: place for place, entry in enumerate(self._index[: 2 * _HEAD])}
            last = places.get(head[-1].id) if head else None
            if last is not None and len(head) + len(self._index) - last - 1 == card:
                self._index = head + self._index[last + 1 :]
                return self._index
        self._index = await self._viewer.index()
        self._index_time = now
        return self._index
