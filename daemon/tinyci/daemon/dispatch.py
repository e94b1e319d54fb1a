"""The jobs that the daemon has: begun as the schedule says, ended once, cleared away."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from tinyci import catalog
from tinyci.api.requests import RequestError
from tinyci.daemon import leftovers
from tinyci.daemon.closing import Closing
from tinyci.daemon.deploy import Deploy
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.intake import SWEEP, Intake
from tinyci.daemon.jobrecord import OnChange
from tinyci.daemon.jobtable import JobTable, Leftover
from tinyci.daemon.output import Limits
from tinyci.log import fields
from tinyci.model import retention, schedule
from tinyci.model.job import Job
from tinyci.model.repo import Repo
from tinyci.model.repos import Repos
from tinyci.model.retention import KeptJob
from tinyci.model.settings import Settings
from tinyci.model.state import State
from tinyci.store.writer import StoreWriter
from tinyci.systemd.managers import Managers

PRUNE = 100
"""Ended jobs between two looks for those that were kept for long enough; each look reads the whole index."""
PRUNE_AGAIN = 600.0
"""Seconds after which one looks anyway: jobs grow old also where none ends."""

log = logging.getLogger(__name__)


class Dispatch:
    """The life of every job. `on_change` takes each field that is written, `on_count` is called when there are more or
    fewer jobs."""

    def __init__(
        self,
        store: StoreWriter,
        managers: Managers,
        settings: Settings,
        repos: Repos,
        on_change: OnChange,
        on_count: Callable[[], None],
        host: HostAccess | None = None,
    ) -> None:
        self.settings = settings
        self.repos = repos
        self.paused = False
        self._store = store
        self._managers = managers
        self._on_change = on_change
        self._on_count = on_count
        self._host = host or HostAccess()
        self._wake = asyncio.Event()
        self._pausing = asyncio.Lock()
        self._table = JobTable()
        self._closing = Closing(store, self._table, on_change, self._host)
        self._intake = Intake(
            store, self._table, self._closing, on_change, self._host, self._wake.set, self._resume_deploy
        )
        self._prune_time = 0.0

    @property
    def queued(self) -> int:
        return len(self._table.queued)

    @property
    def running(self) -> list[Deploy]:
        return list(self._table.running.values())

    def wake(self) -> None:
        """What was configured has changed: the repos, how many may run, how many are kept."""
        self._prune_time = -PRUNE_AGAIN
        self._wake.set()

    def mark_stale(self) -> None:
        """Redis was away."""
        self._intake.mark_stale()

    async def resume(self) -> None:
        """Know again of everything that was accepted before this process was there."""
        self.paused = await self._store.is_paused()
        for job in await self._prune():
            if job.state not in ("", State.QUEUED):
                self._table.note_begin(job.repo, job.ref, job.created)
        await self._intake.sweep()
        # The daemon before wrote the file of a job, and knew no more of it or had not begun it.
        jobs = (*(deploy.job for deploy in self.running), *(left.job for left in self._table.leftovers.values()))
        ours = {self._host.job_file(job) for job in jobs}
        for file in self._host.job_files.glob("*"):
            if file not in ours:
                file.unlink(missing_ok=True)

    async def run(self) -> None:
        """Take, begin and end jobs until cancelled. Builds are not ours to end: they go on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._intake.run())
            group.create_task(self._begin(group))
            group.create_task(self._clear())

    # -- jobs on their way -------------------------------------------------------------------------------------

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        under_way: set[str] = set()
        while True:
            self._wake.clear()
            for job, newer in schedule.superseded_jobs(self._table.queued):
                self._table.unqueue(job)
                reason = f"job {newer.id} deploys a newer push of {job.ref}"
                await self._closing.end(job.id, job.repo, State.SUPERSEDED, reason)
            await self._begin_runnable()
            under_way &= set(self._table.running)
            for job_id, deploy in self._table.running.items():
                if job_id not in under_way:
                    under_way.add(job_id)
                    group.create_task(self._deploy(deploy))
            self._on_count()
            if self._closing.count >= PRUNE or asyncio.get_running_loop().time() > self._prune_time + PRUNE_AGAIN:
                await self._prune()
            await self._wake.wait()

    async def _begin_runnable(self) -> None:
        if self.paused or self._intake.is_sweeping:
            return
        busy = {deploy.repo.name for deploy in self._table.running.values()}
        for job in schedule.runnable_jobs(self._table.queued, busy, self.settings.parallel):
            self._table.unqueue(job)
            repo = self.repos.by_name.get(job.repo)
            if repo and repo.deploys(job.ref):
                self._start_deploy(job, repo)
                continue
            self._wake.set()  # its place is free again
            reason = f"the repo {job.repo} deploys {' '.join(repo.refs)}, not {job.ref}" if repo else ""
            await self._closing.end(job.id, job.repo, State.REJECTED, reason or self.repos.missing_reason(job.repo))

    def _resume_deploy(self, job: Job, user: str) -> None:
        """Go on with a job for the user it was begun for: its build is in that user's manager."""
        repo, abandon_reason = self.repos.by_name.get(job.repo), ""
        user = user or (repo.user if repo else "root")
        if repo is None:
            repo = Repo.placeholder(job.repo, user)
            abandon_reason = f"while it was {job.state}: {self.repos.missing_reason(job.repo)}"
        elif user != repo.user:
            change = f"the user of the repo was changed from {user} to {repo.user}"
            abandon_reason = f"while it was {job.state}, {change}: push again"
        self._start_deploy(job, repo._replace(user=user), abandon_reason)

    def _start_deploy(self, job: Job, repo: Repo, abandon_reason: str = "") -> None:
        self._table.running[job.id] = Deploy(
            job,
            repo,
            self._store,
            self._managers,
            Limits(log=self.settings.log_max, output=self.settings.output_max),
            self._on_change,
            self._host,
            predecessors=self._table.leftovers_of(job.repo, repo.user),
            abandon_reason=abandon_reason,
        )
        self._table.note_begin(job.repo, job.ref, job.created)

    async def _deploy(self, deploy: Deploy) -> None:
        is_clear = False
        try:
            is_clear = await deploy.run()
        except Exception as error:  # a defect of ours must end this job, and no other
            about = fields(job=deploy.job.id, repo=deploy.repo.name, message_id=catalog.DEFECT)
            log.exception("job %s: internal error", deploy.job.id, extra=about)
            reason = f"an internal error of tinyci ({type(error).__name__}): journalctl -u tinyci"
            await self._closing.write(deploy.job.id, deploy.repo.name, State.FAILED, reason)
        finally:
            if not is_clear:
                self._table.leave(deploy.job, deploy.repo.user)
            del self._table.running[deploy.job.id]
            self._closing.count += 1
            self._wake.set()

    async def _clear(self) -> None:
        """Clear ended jobs away, apart from everything else: a manager that is away must not hold up the jobs of
        others."""
        table = self._table
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP if table.leftovers else None):
                    await table.has_leftovers.wait()
            table.has_leftovers.clear()
            async with asyncio.TaskGroup() as group:
                for left in table.leftovers.values():
                    group.create_task(self._clear_one(left))

    async def _clear_one(self, left: Leftover) -> None:
        job = left.job
        try:
            if await leftovers.clear(job, left.user, self._store, self._managers, self._host):
                del self._table.leftovers[job.id]
        except OSError as error:  # the id is still accepted, and this is tried again
            about = fields(job=job.id, repo=job.repo, message_id=catalog.LEFTOVER_FILE)
            log.error("job %s cannot be cleared away: %s", job.id, error, extra=about)

    async def _prune(self) -> list[KeptJob]:
        """Forget what was kept for long enough. Returns what there was."""
        kept = await self._store.kept_jobs()
        live = await self._store.live_ids()  # later, so that no job of `kept` is missed while it waits
        expired = retention.expired_ids(kept, self.settings.keep_jobs, self.settings.keep_age, self._host.time(), live)
        await self._store.forget(expired)
        self._table.forget_refs_but((job.repo, job.ref) for job in kept)
        self._closing.count, self._prune_time = 0, asyncio.get_running_loop().time()
        if expired:
            about = fields(message_id=catalog.JOBS_REMOVED)
            log.info("%d jobs were kept for long enough, and are forgotten", len(expired), extra=about)
        return kept

    # -- what people ask ---------------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> None:
        """End a job that waits or builds, as `cancelled`. Raises RequestError when it is past that, and then not
        before its restart has ended: that is not cut off in the middle."""
        for job in self._table.queued:
            if job.id == job_id:
                self._table.unqueue(job)
                await self._closing.end(job.id, job.repo, State.CANCELLED, "cancelled before it began")
                return
        deploy = self._table.running.get(job_id)
        if deploy is None:
            raise RequestError("AlreadyFinished", f"job {job_id} has ended, or there is no such job")
        if not await deploy.cancel():
            state = await deploy.wait_for_end()
            raise RequestError("AlreadyFinished", f"job {job_id} was past its build, and has ended: {state}")
        if (state := await deploy.wait_for_end()) is not State.CANCELLED:
            raise RequestError("AlreadyFinished", f"job {job_id} had come to its end before that: {state}")

    async def add(self, like: Mapping[str, str], pusher: str, more: Mapping[str, str]) -> str:
        """Add a new job for what another one was for; its id."""
        return await self._intake.add(like, pusher, more)

    async def pause(self, *, paused: bool) -> None:
        """Begin nothing new, or go on. What runs is not touched."""
        async with self._pausing:  # else of two at once one could have the word in Redis, and the other here
            await self._store.set_paused(paused=paused)
            self.paused = paused
        self._wake.set()
