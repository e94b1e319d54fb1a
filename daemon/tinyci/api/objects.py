"""org.tinyci1: the objects on the system bus, through every loss of the connection. Reading is open to everyone."""

from collections.abc import Callable, Mapping

from tinyci.api.checks import Examiner
from tinyci.api.eventreader import EventReader
from tinyci.api.jobobject import JobObject, path_of
from tinyci.api.jobregistry import JobRegistry
from tinyci.api.jobsource import JobSource, JobStore
from tinyci.api.managerobject import ManagerObject
from tinyci.api.outputreader import OutputReader
from tinyci.api.polkit import Authority
from tinyci.api.requests import Requests
from tinyci.dbus import names
from tinyci.dbus.bus import Bus, BusError, BusGoneError
from tinyci.dbus.turnstile import Cost
from tinyci.model.fields import HOOK_FIELDS
from tinyci.model.job import is_id
from tinyci.model.state import is_final
from tinyci.runtime.backoff import Backoff

_COSTS = {"ListJobs": Cost.SHORT, "ListRepos": Cost.SHORT, "ReadOutput": Cost.POLL, "ReadEvents": Cost.POLL}
"""Costs of our methods that do not have others work."""


def _cost_of(interface: str, member: str) -> Cost:
    is_ours = interface.startswith(f"{names.NAME}.")
    return _COSTS.get(member, Cost.WORK) if is_ours else Cost.SHORT


class ObjectServer:
    """The manager and the jobs, exported on one connection after another."""

    def __init__(self, requests: Requests, store: JobStore, examiner: Examiner | None = None) -> None:
        self._bus: Bus | None = None
        self._requests = requests
        source = JobSource(store, self._pause)
        self._output = OutputReader(source)
        self._events = EventReader(source)
        self._authority = Authority()
        self._jobs = JobRegistry(source, requests, self._create)
        self._manager = ManagerObject(self._jobs, requests, self._authority, self._events, examiner)

    async def connect(self) -> None:
        """Export everything and own the name. Raises BusGoneError or BusError."""
        bus = await Bus.connect()
        try:
            bus.admit_callers(_cost_of)
            bus.export(names.PATH, self._manager)
            self._jobs.export_on(bus)
            await bus.own(names.NAME)
        except (BusGoneError, BusError):
            self._jobs.export_on(None)
            await bus.close()
            raise
        self._bus = self._authority.bus = bus

    async def keep_connected(self, on_lost: Callable[[str], None]) -> None:
        """Connect again each time that the connection is lost; `on_lost` is called with each error."""
        while True:
            assert self._bus
            await self._bus.wait_closed()
            on_lost("the connection to the system bus was lost")
            await self._bus.close()
            self._bus = self._authority.bus = None
            self._jobs.export_on(None)
            backoff = Backoff(0.2, 0.5, 1.0, 2.0, 5.0)
            while self._bus is None:
                # A bus that comes back tells nobody who is not connected.
                await backoff.wait()
                try:
                    await self.connect()
                except (BusGoneError, BusError) as error:
                    on_lost(str(error))

    async def close(self) -> None:
        if self._bus:
            await self._bus.close()

    def repos_changed(self) -> None:
        """Announce the repos of a configuration that was read again."""
        self._manager.repos_changed()

    def lacks_fields(self, job_id: str) -> bool:
        """True for a job that waits among so many that nothing of it is kept here: add() needs all its fields."""
        return self._jobs.is_unlisted(job_id)

    def add(self, job_id: str, fields: Mapping[str, str], *, announce: bool = True) -> None:
        """Put a job on the bus, or take over fields of one that is there. A text that is no id makes no object."""
        if not is_id(job_id):
            return
        if self._jobs.get(job_id):
            self.change(job_id, fields)
            return
        if self._jobs.is_unlisted(job_id):
            self._jobs.add(job_id, {name: text for name, text in fields.items() if name in HOOK_FIELDS})
            self.change(job_id, fields)
            return
        self._jobs.add(job_id, fields)
        if announce:
            self._manager.JobNew(job_id, path_of(job_id))

    def change(self, job_id: str, fields: Mapping[str, str]) -> None:
        """Take over fields of a job that is on the bus; a final state is its end, and announced as JobRemoved."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        job.change(fields)
        self._jobs.note_state(job)
        if is_final(fields.get("state", "")):
            self._manager.JobRemoved(job_id, path_of(job_id), fields["state"])

    def log_grew(self, job_id: str) -> None:
        """Answer the callers that wait for output of a job: its log has more lines."""
        self._output.wake(job_id)

    def event_added(self) -> None:
        """Answer the callers that wait for events: there is one more."""
        self._events.wake()

    def _pause(self) -> float:
        """Return the seconds until callers may cost something again."""
        return self._bus.pause() if self._bus else 0

    def _create(self, job_id: str, fields: Mapping[str, str]) -> JobObject:
        return JobObject(job_id, fields, self._requests, self._authority, self._output)
