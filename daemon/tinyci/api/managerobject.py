"""org.tinyci1.Manager: the jobs and repos, requests of callers, and the queue as a whole."""

from tinyci import __version__
from tinyci.api import values
from tinyci.api.checks import Examiner
from tinyci.api.eventreader import EventReader
from tinyci.api.jobobject import path_of
from tinyci.api.jobregistry import JobRegistry
from tinyci.api.polkit import Authority
from tinyci.api.requests import Requests, carry_out
from tinyci.dbus import names
from tinyci.dbus.bus import ServiceInterface
from tinyci.dbus.interface import method, prop, signal
from tinyci.dbus.names import Action
from tinyci.model.state import State, is_final


class ManagerObject(ServiceInterface):  # type: ignore[misc]
    """The object of tinyci itself."""

    def __init__(
        self,
        jobs: JobRegistry,
        requests: Requests,
        authority: Authority,
        events: EventReader,
        examiner: Examiner | None,
    ) -> None:
        super().__init__(names.MANAGER)
        self._jobs = jobs
        self._requests = requests
        self._authority = authority
        self._events = events
        self._examiner = examiner

    @method("jobs")
    def ListJobs(self) -> "a(sssso)":
        """Return id, repo, ref, state and object path of the live and the recent jobs, oldest first."""
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
        """Return name, user, repository, refs and units of each repo, as its file says."""
        return [
            [repo.name, repo.user, repo.repository, list(repo.refs), list(repo.units)]
            for _, repo in sorted(self._requests.repos.items())
        ]

    @method("job")
    async def GetJob(self, id: "s") -> "o":
        """Return the object of a kept job. One that was not listed is on the bus for a while from now on."""
        job = await carry_out(self._jobs.find(id))
        return path_of(job.id)

    @method("job")
    async def Run(self, repo: "s", ref: "s") -> "o":
        """Make a job for the revision that a ref (its full name) has when the build begins. With an empty ref it is
        that of the repo's newest job that was not rejected, else the only one that the repo deploys."""
        pusher = await self._authority.authorize(Action.RUN, repo)
        return path_of(await carry_out(self._requests.deploy(repo, ref, pusher)))

    @method()
    async def Cancel(self, id: "s"):  # type: ignore[no-untyped-def]
        """End a job that waits or builds, and return when it has ended. A job that is past its build raises
        AlreadyFinished when it has ended, and not before."""
        await self._authority.authorize(Action.CANCEL, await self._repo_of(id))
        await carry_out(self._requests.cancel(id))

    @method("job")
    async def Retry(self, id: "s") -> "o":
        """Make a job for the revision of a kept one."""
        job = await carry_out(self._jobs.find(id))
        # What was a rollback is one again.
        action = Action.ROLLBACK if job.fields.get("rollback_to") else Action.RETRY
        pusher = await self._authority.authorize(action, job.repo)
        return path_of(await carry_out(self._requests.retry(id, pusher)))

    @method("job")
    async def Rollback(self, repo: "s") -> "o":
        """Make a job that deploys again what ran before the newest success."""
        pusher = await self._authority.authorize(Action.ROLLBACK, repo)
        return path_of(await carry_out(self._requests.rollback(repo, "", pusher)))

    @method("job")
    async def RollbackTo(self, id: "s") -> "o":
        """Make a job that deploys again what a successful, kept job deployed."""
        repo = await self._repo_of(id)
        pusher = await self._authority.authorize(Action.ROLLBACK, repo)
        return path_of(await carry_out(self._requests.rollback(repo, id, pusher)))

    @method("position", "missed", "events")
    async def ReadEvents(self, after: "s", wait: "b") -> "sbaa{ss}":
        """Return the changes of jobs after a position, and the position after them.

        The first position is the empty string for what comes from now on, `0-0` for the oldest that is kept, or `-N`
        for the last N, 500 at most; any other is what an earlier call returned, also of an earlier daemon. With `wait`
        the answer comes when there are events, or after 20 s. `missed`: there were events after that position that are
        not kept any more.
        """
        answer = await carry_out(self._events.read(after, wait=wait))
        events = [{name: values.string(text) for name, text in event.items()} for event in answer.events]
        return [answer.position, answer.has_gap, events]

    @method()
    async def Pause(self):  # type: ignore[no-untyped-def]
        """Begin no job until Resume(), also after a restart; running ones go on."""
        await self._pause(paused=True)

    @method()
    async def Resume(self):  # type: ignore[no-untyped-def]
        """Begin jobs again."""
        await self._pause(paused=False)

    @method("checks")
    async def Diagnose(self, repo: "s") -> "a(sbs)":
        """Check all that the deploys of a repo need, or with an empty name those of all repos, as the daemon sees it:
        name of the check, True if it holds, and a sentence. `tinyci doctor` sees more."""
        if self._examiner is None:
            return []
        checks = await carry_out(self._examiner.examine(repo, self._authority.bus))
        return [list(check) for check in checks]

    def repos_changed(self) -> None:
        """Announce the repos after a reload."""
        self.emit_properties_changed({"Repos": sorted(self._requests.repos)})

    async def _repo_of(self, job_id: str) -> str:
        return (await carry_out(self._jobs.find(job_id))).repo

    async def _pause(self, *, paused: bool) -> None:
        await self._authority.authorize(Action.PAUSE)
        await carry_out(self._requests.pause(paused=paused))
        self.emit_properties_changed({"Paused": paused})

    @signal
    def JobNew(self, id: str, job: str) -> "so":
        return [id, job]

    @signal
    def JobRemoved(self, id: str, job: str, state: str) -> "sos":
        """Announce the end of a job; its object stays for a while."""
        return [id, job, state]

    @prop("const")
    def Version(self) -> "s":
        return __version__

    @prop("false")
    def Queued(self) -> "u":
        return self._jobs.queued_count

    @prop("false")
    def Running(self) -> "u":
        return sum(job.state != State.QUEUED and not is_final(job.state) for job in self._jobs)

    @prop("true")
    def Paused(self) -> "b":
        return self._requests.paused

    @prop("true")
    def Repos(self) -> "as":
        return sorted(self._requests.repos)
