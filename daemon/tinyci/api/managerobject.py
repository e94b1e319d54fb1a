"""org.tinyci1.Manager: all jobs, and tinyci itself, on the bus."""

from typing import TYPE_CHECKING

from tinyci import __version__
from tinyci.api import values
from tinyci.api.eventreader import EventReader
from tinyci.api.jobobject import path_of
from tinyci.api.jobregistry import JobRegistry
from tinyci.api.longpoll import PositionError
from tinyci.api.polkit import Authority, user_name
from tinyci.api.requests import Requests
from tinyci.dbus import names
from tinyci.dbus.bus import ReplyError, ServiceInterface
from tinyci.dbus.interface import method, prop, signal
from tinyci.model.state import State, is_final

if TYPE_CHECKING:  # who only reads of a job need not wait for what a diagnosis imports
    from tinyci.daemon.diagnosis import Diagnosis


class ManagerObject(ServiceInterface):  # type: ignore[misc]
    """All jobs, and tinyci itself."""

    def __init__(
        self,
        jobs: JobRegistry,
        requests: Requests,
        authority: Authority,
        events: EventReader,
        diagnosis: "Diagnosis | None",
    ) -> None:
        super().__init__(names.MANAGER)
        self._jobs = jobs
        self._requests = requests
        self._authority = authority
        self._events = events
        self._diagnosis = diagnosis

    @method("jobs")
    def ListJobs(self) -> "a(sssso)":
        """Id, repo, ref, state and object path of the live and the recent jobs, oldest first."""
        return [
            [
                job.id,
                values.string(job.repo),
                values.string(job.fields.get("ref", "")),
                values.string(job.state),
                path_of(job.id),
            ]
            for job in self._jobs
        ]

    @method("repos")
    def ListRepos(self) -> "a(sssasas)":
        """Name, user, repository, refs and units of each repo, as its file says."""
        return [
            [repo.name, repo.user, repo.repository, list(repo.refs), list(repo.units)]
            for _, repo in sorted(self._requests.repos.items())
        ]

    @method("job")
    async def GetJob(self, id: "s") -> "o":
        """The object of a job. One that is kept, and was not listed, is on the bus for a while from now on.

        org.tinyci1.Error.NoSuchJob.
        """
        job = await self._authority.carry_out(self._jobs.find(id))
        return path_of(job.id)

    @method("job")
    async def Run(self, repo: "s", ref: "s") -> "o":
        """A new job for what a ref (its full name) is at when the build begins. With an empty ref for that of the
        repo's newest job that was not rejected, else the only one that the repo deploys.

        Asks polkit for org.tinyci1.run. org.tinyci1.Error.NoSuchRepo, or NoSuchRef when the repo does not deploy it.
        """
        uid = await self._authority.allow("run", repo)
        return path_of(await self._authority.carry_out(self._requests.deploy(repo, ref, user_name(uid))))

    @method()
    async def Cancel(self, id: "s"):  # type: ignore[no-untyped-def]
        """End a job that waits or builds, and return when it has ended. Asks polkit for org.tinyci1.cancel.

        org.tinyci1.Error.AlreadyFinished when it has ended, or is past its build; then not before its end.
        """
        await self._authority.allow("cancel", await self._repo_of(id))
        await self._authority.carry_out(self._requests.cancel(id))

    @method("job")
    async def Retry(self, id: "s") -> "o":
        """A new job for the revision of a kept one. Asks polkit for org.tinyci1.retry."""
        uid = await self._authority.allow("retry", await self._repo_of(id))
        return path_of(await self._authority.carry_out(self._requests.retry(id, user_name(uid))))

    @method("job")
    async def Rollback(self, repo: "s") -> "o":
        """A new job that deploys what ran before the newest success again. Asks polkit for org.tinyci1.rollback."""
        uid = await self._authority.allow("rollback", repo)
        return path_of(await self._authority.carry_out(self._requests.rollback(repo, "", user_name(uid))))

    @method("job")
    async def RollbackTo(self, id: "s") -> "o":
        """A new job that deploys again what that successful, kept job deployed. Asks polkit for
        org.tinyci1.rollback."""
        repo = await self._repo_of(id)
        uid = await self._authority.allow("rollback", repo)
        return path_of(await self._authority.carry_out(self._requests.rollback(repo, id, user_name(uid))))

    @method("position", "missed", "events")
    async def ReadEvents(self, after: "s", wait: "b") -> "sbaa{ss}":
        """Changes of jobs that come after a position, and the position after them.

        The first position is the empty string for what comes from now on, `0-0` for the oldest that is kept, or `-N`
        for the last N, 500 at most; any other is what an earlier call returned, also of an earlier daemon. With `wait`
        the answer comes when there are events, or after 20 s. `missed`: there were events after that position that are
        not kept any more.
        """
        try:
            position, has_gap, events = await self._authority.carry_out(self._events.read(after, wait=wait))
        except PositionError as error:
            raise ReplyError(names.INVALID_ARGS, str(error)) from None
        return [position, has_gap, [{name: values.string(text) for name, text in each.items()} for each in events]]

    @method()
    async def Pause(self):  # type: ignore[no-untyped-def]
        """Begin no job until Resume(), also after a restart; running ones go on. Asks polkit for org.tinyci1.pause."""
        await self._authority.allow("pause", "")
        await self._authority.carry_out(self._requests.pause(paused=True))
        self.emit_properties_changed({"Paused": True})

    @method()
    async def Resume(self):  # type: ignore[no-untyped-def]
        """Begin jobs again. Asks polkit for org.tinyci1.pause."""
        await self._authority.allow("pause", "")
        await self._authority.carry_out(self._requests.pause(paused=False))
        self.emit_properties_changed({"Paused": False})

    @method("checks")
    async def Diagnose(self, repo: "s") -> "a(sbs)":
        """What the daemon sees of what a repo's deploys need, or with an empty name all deploys: name of the check,
        whether it holds, and a sentence. `tinyci doctor` sees more. Open to everyone; org.tinyci1.Error.NoSuchRepo.
        """
        if self._diagnosis is None:
            return []
        return [list(row) for row in await self._authority.carry_out(self._diagnosis.of(repo, self._authority.bus))]

    def repos_changed(self) -> None:
        self.emit_properties_changed({"Repos": sorted(self._requests.repos)})

    async def _repo_of(self, job_id: str) -> str:
        return (await self._authority.carry_out(self._jobs.find(job_id))).repo

    @signal
    def JobNew(self, id: str, job: str) -> "so":
        return [id, job]

    @signal
    def JobRemoved(self, id: str, job: str, state: str) -> "sos":
        """A job has ended in that state; its object stays for a while."""
        return [id, job, state]

    @prop("const")
    def Version(self) -> "s":
        return __version__

    @prop("false")
    def Queued(self) -> "u":
        return sum(job.state == State.QUEUED for job in self._jobs)

    @prop("false")
    def Running(self) -> "u":
        return sum(job.state != State.QUEUED and not is_final(job.state) for job in self._jobs)

    @prop("true")
    def Paused(self) -> "b":
        return self._requests.paused

    @prop("true")
    def Repos(self) -> "as":
        return sorted(self._requests.repos)
