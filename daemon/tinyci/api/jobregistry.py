"""The jobs on the bus: the live ones, those that ended last, and those that callers asked for."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice

from tinyci.api.jobobject import JobObject, path_of
from tinyci.api.jobsource import JobSource
from tinyci.api.requests import RequestError, Requests
from tinyci.dbus.bus import Bus
from tinyci.model.job import is_id
from tinyci.model.state import State, is_final

EXPORTED = 100
"""Ended jobs that stay on the bus, and as many that were asked for; the library's cost of a signal grows with them."""
LISTED = 500
"""Jobs that wait and are on the bus, the newest ones: the answer to ListJobs must not hold up the daemon."""
_ACCEPTANCE = 20.0
"""Seconds that the daemon may take to accept a job that was added."""


class JobRegistry:
    """Jobs by id, exported on the bus as long as there is one."""

    def __init__(
        self, source: JobSource, requests: Requests, create: Callable[[str, Mapping[str, str]], JobObject]
    ) -> None:
        self._source = source
        self._requests = requests
        self._create = create
        self._bus: Bus | None = None
        self._recent: OrderedDict[str, JobObject] = OrderedDict()
        """Live and recently ended jobs, oldest first."""
        self._queued: OrderedDict[str, JobObject] = OrderedDict()
        """Jobs in _recent that have not begun, oldest first."""
        self._unlisted: set[str] = set()
        """Ids of jobs that wait and are not on the bus. Their fields are in Redis: there may be very many."""
        self._ended: OrderedDict[str, JobObject] = OrderedDict()
        """Jobs in _recent that have ended."""
        self._newest_ids: dict[str, str] = {}
        """By repo: its newest job in _recent."""
        self._older: OrderedDict[str, JobObject] = OrderedDict()
        """Kept jobs that were asked for, none of which is in _recent."""
        self._arrivals: dict[str, list[asyncio.Event]] = {}
        """By id of a job that is not there yet: those who wait for it."""

    def __iter__(self) -> Iterator[JobObject]:
        """Iterate over the live and the recently ended jobs, oldest first."""
        return iter(self._recent.values())

    @property
    def queued_count(self) -> int:
        """Number of jobs that have not begun."""
        return len(self._queued) + len(self._unlisted)

    def get(self, job_id: str) -> JobObject | None:
        """Return a job that is live or ended recently; of those that wait, one of the newest."""
        return self._recent.get(job_id)

    def is_unlisted(self, job_id: str) -> bool:
        """True for a job that waits and is not on the bus."""
        return job_id in self._unlisted

    def export_on(self, bus: Bus | None) -> None:
        """Export all jobs on another connection; on none if it is lost."""
        self._bus = bus
        if bus:
            for job in (*self._recent.values(), *self._older.values()):
                bus.export(path_of(job.id), job)

    def add(self, job_id: str, fields: Mapping[str, str]) -> None:
        """Add a job, and drop the oldest ended ones beyond EXPORTED, but not the newest of a repo: it is the one that
        people mean by the repo's name."""
        self._unlisted.discard(job_id)
        self._drop(self._older, job_id)
        job = self._recent[job_id] = self._export(job_id, fields)
        self._newest_ids[job.repo] = job_id
        self.note_state(job)
        for arrival in self._arrivals.get(job_id, ()):
            arrival.set()
        for ended in list(islice(self._ended.values(), max(0, len(self._ended) - EXPORTED))):
            if self._newest_ids[ended.repo] != ended.id or ended.repo not in self._requests.repos:
                del self._ended[ended.id]
                self._drop(self._recent, ended.id)

    def note_state(self, job: JobObject) -> None:
        """Take note of a job's state, which may be another one than before."""
        if job.state != State.QUEUED:
            self._queued.pop(job.id, None)
            if is_final(job.state):
                self._ended[job.id] = job
            return
        self._queued[job.id] = job
        if len(self._queued) > LISTED:
            job_id, _ = self._queued.popitem(last=False)
            self._unlisted.add(job_id)
            self._drop(self._recent, job_id)

    async def find(self, job_id: str) -> JobObject:
        """Return a kept job, which is on the bus from now on, if only for a while. One that was added, and that the
        daemon has not accepted yet, is awaited. Raises RequestError."""
        if job := self._find_exported(job_id):
            return job
        missing = RequestError("NoSuchJob", f"no job that is kept has the id {job_id[:64]!r}")
        if not is_id(job_id):
            raise missing
        with self._arrival(job_id) as arrival:
            fields = await self._source.job(job_id)
            if not fields.get("state") and (fields or await self._source.is_new(job_id)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ACCEPTANCE):
                        await arrival.wait()
        if job := self._find_exported(job_id):  # meanwhile
            return job
        if not fields.get("state"):
            raise missing
        while len(self._older) >= EXPORTED:
            self._drop(self._older, next(iter(self._older)))
        job = self._older[job_id] = self._export(job_id, fields)
        return job

    @contextmanager
    def _arrival(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when that job is added."""
        event = asyncio.Event()
        self._arrivals.setdefault(job_id, []).append(event)
        try:
            yield event
        finally:
            self._arrivals[job_id].remove(event)
            if not self._arrivals[job_id]:
                del self._arrivals[job_id]

    def _find_exported(self, job_id: str) -> JobObject | None:
        return self._recent.get(job_id) or self._older.get(job_id)

    def _export(self, job_id: str, fields: Mapping[str, str]) -> JobObject:
        job = self._create(job_id, {"state": State.QUEUED, **fields})
        if self._bus:
            self._bus.export(path_of(job_id), job)
        return job

    def _drop(self, jobs: "OrderedDict[str, JobObject]", job_id: str) -> None:
        if jobs.pop(job_id, None) and self._bus:
            self._bus.unexport(path_of(job_id))
