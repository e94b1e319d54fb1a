"""org.tinyci1: what is on the system bus, and for how long. Reading is open to everyone."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from tinyci.api.eventreader import EventEntry, EventReader, EventSource
from tinyci.api.jobobject import PATH, JobObject, path_of
from tinyci.api.managerobject import ManagerObject
from tinyci.api.outputreader import LineSource, OutputReader
from tinyci.api.polkit import NAME, Authority
from tinyci.api.requests import RequestError, Requests
from tinyci.daemon.diagnosis import Diagnosis
from tinyci.dbus.bus import Bus, BusError, BusGoneError
from tinyci.model.job import is_id
from tinyci.model.repo import Repo
from tinyci.model.state import FINAL, State
from tinyci.store.writer import StoreError

EXPORTED = 100
"""Ended jobs that stay on the bus, and as many that were asked for; the library's cost of a signal grows with them."""

T = TypeVar("T")

_BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)
_PATIENCE = 5.0
"""Seconds that Redis has for a job that is not on the bus."""


class ObjectServer:
    """The objects, kept on the bus whatever becomes of a connection."""

    def __init__(
        self,
        repos: Callable[[], Mapping[str, Repo]],
        requests: Requests,
        kept: Callable[[str], Awaitable[Mapping[str, str]]],
        output: LineSource,
        events: EventSource,
        diagnosis: Diagnosis | None = None,
    ) -> None:
        """`kept`: the hash of a job, empty when there is none. `output`: lines of its log, as in reading.py. `events`:
        as in eventreading.py. All wait for Redis, and may raise StoreError."""
        self._jobs: OrderedDict[str, JobObject] = OrderedDict()
        self._asked_for: OrderedDict[str, JobObject] = OrderedDict()
        self._kept = kept
        self._requests = requests
        self._output = output
        self._events = events
        self._readers = OutputReader(self._lines)
        self._event_readers = EventReader(self._entries)
        self._authority = Authority()
        self._manager = ManagerObject(
            self._jobs, self._find, repos, requests, self._authority, self._event_readers, diagnosis
        )
        self._bus: Bus | None = None

    async def connect(self) -> None:
        """Own the name with everything exported. Raises BusGone or BusError."""
        bus = await Bus.connect()
        try:
            bus.remember_callers()
            bus.export(PATH, self._manager)
            for job_id, job in (*self._jobs.items(), *self._asked_for.items()):
                bus.export(path_of(job_id), job)
            await bus.own(NAME)
        except (BusGoneError, BusError):
            await bus.close()
            raise
        self._bus = self._authority.bus = bus

    async def keep(self, on_lost: Callable[[str], None]) -> None:
        """Connect again whenever the connection is lost; `on_lost` hears of each time."""
        while True:
            assert self._bus
            await self._bus.gone()
            on_lost("the connection to the system bus was lost")
            await self._bus.close()
            self._bus = self._authority.bus = None
            tries = 0
            while self._bus is None:
                # A bus that comes back tells nobody who is not connected.
                await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
                tries += 1
                try:
                    await self.connect()
                except (BusGoneError, BusError) as error:
                    on_lost(str(error))

    async def close(self) -> None:
        if self._bus:
            await self._bus.close()

    def repos_changed(self) -> None:
        """The configuration was read again."""
        self._manager.repos_changed()

    def add(self, job_id: str, fields: Mapping[str, str], announce: bool = True) -> None:
        """Put a job on the bus, and forget the oldest ended ones beyond EXPORTED. What is no id makes no object."""
        if not is_id(job_id):
            return
        if job_id in self._jobs:
            self.change(job_id, fields)
            return
        self._drop(self._asked_for, job_id)
        self._jobs[job_id] = self._object(job_id, fields)
        if announce:
            self._manager.JobNew(job_id, path_of(job_id))
        ended = [each for each, job in self._jobs.items() if job.state in FINAL]
        for each in ended[: max(0, len(ended) - EXPORTED)]:
            self._drop(self._jobs, each)

    def change(self, job_id: str, fields: Mapping[str, str]) -> None:
        """Fields of a job were written; its end is a JobRemoved."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        job.change(fields)
        if fields.get("state") in FINAL:
            self._manager.JobRemoved(job_id, path_of(job_id), fields["state"])

    def log_grew(self, job_id: str) -> None:
        """The log of a job has more lines."""
        self._readers.wake(job_id)

    def event_added(self) -> None:
        """There is one more event."""
        self._event_readers.wake()

    async def _find(self, job_id: str) -> JobObject:
        """A job that is on the bus, or is kept and then is for a while. Raises RequestError."""
        if found := self._jobs.get(job_id) or self._asked_for.get(job_id):
            return found
        missing = RequestError("NoSuchJob", f"no job that is kept has the id {job_id[:64]!r}")
        if not is_id(job_id):
            raise missing
        fields = await _in_time(self._kept(job_id)) or {}
        if found := self._jobs.get(job_id) or self._asked_for.get(job_id):  # meanwhile
            return found
        if not fields.get("state"):  # what is not accepted yet will be on the bus in a moment
            raise missing
        while len(self._asked_for) >= EXPORTED:
            self._drop(self._asked_for, next(iter(self._asked_for)))
        found = self._asked_for[job_id] = self._object(job_id, fields)
        return found

    def _object(self, job_id: str, fields: Mapping[str, str]) -> JobObject:
        job = JobObject(job_id, {"state": State.QUEUED, **fields}, self._requests, self._authority, self._readers)
        if self._bus:
            self._bus.export(path_of(job_id), job)
        return job

    def _drop(self, jobs: "OrderedDict[str, JobObject]", job_id: str) -> None:
        if jobs.pop(job_id, None) and self._bus:
            self._bus.unexport(path_of(job_id))

    async def _lines(self, job_id: str, after: int, count: int) -> list[tuple[int, str]]:
        return await _in_time(self._output(job_id, after, count)) or []

    async def _entries(self, start: str, count: int, newest: bool) -> list[EventEntry]:
        return await _in_time(self._events(start, count, newest)) or []


async def _in_time(question: Awaitable[T]) -> T | None:
    """What Redis answers; None when something else is under the key. Raises RequestError."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await question
    except TimeoutError:
        raise RequestError("Unavailable", "Redis does not answer; ask again when it is back") from None
    except StoreError:
        return None
