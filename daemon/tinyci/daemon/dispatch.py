"""The dispatch of jobs: begins them as the schedule says, clears them away, and forgets old ones."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice

from tinyci import catalog
from tinyci.api.requests import RequestError
from tinyci.daemon import leftovers
from tinyci.daemon.closing import Closing, JobEnd
from tinyci.daemon.deploy import Deploy
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.intake import SWEEP, Intake
from tinyci.daemon.jobtable import JobTable, Leftover
from tinyci.daemon.listener import Listener
from tinyci.daemon.logbudget import LogBudget
from tinyci.daemon.output import Limits
from tinyci.log import fields
from tinyci.model import retention, schedule
from tinyci.model.job import TIP, Job
from tinyci.model.repo import Repo
from tinyci.model.repos import Repos
from tinyci.model.retention import KeptJob
from tinyci.model.settings import Settings
from tinyci.model.state import State, is_final
from tinyci.runtime.waiting import leaf_of
from tinyci.store.writer import StoreError, StoreWriter
from tinyci.systemd.managers import Managers

PRUNE = 100
"""Number of ended jobs between two looks for expired ones, at least. Each look reads the whole index, so there are more
between them when that is long."""
_PRUNE_PART = 4
"""Part of the index as many as which have ended between two looks."""
PRUNE_AGAIN = 600.0
"""Seconds after which the daemon looks anyway: jobs expire also where none ends."""

ENDS_AT_ONCE = 500
"""Number of jobs whose ends are written at once."""
_SHORT_QUEUE = 1000
_LOST_REASON = "its id was removed from the queue in Redis, so it was never built: push again"

log = logging.getLogger(__name__)


class Dispatch:
    """The life of every job."""

    def __init__(
        self,
        store: StoreWriter,
        managers: Managers,
        settings: Settings,
        repos: Repos,
        listener: Listener,
        host: HostAccess | None = None,
    ) -> None:
        self.settings = settings
        self.repos = repos
        self.is_paused = False
        self._store = store
        self._managers = managers
        self._listener = listener
        self._host = host or HostAccess()
        self._pause_lock = asyncio.Lock()
        self._table = JobTable()
        self._closing = Closing(store, self._table, listener, self._host)
        self._intake = Intake(store, self._table, self._closing, listener, self._host, self._resume_deploy)
        self._log_budget = LogBudget(store, settings.log_budget)
        self._ends: dict[str, JobEnd] = {}
        """By job id: ends without a deploy that are not being written yet; their jobs are in `ending` of the table."""
        self._prune_time = 0.0
        self._prune_count = PRUNE
        self._uncleared_ids: set[str] = set()
        """Leftovers of which the log has said why they are still there."""

    @property
    def queue_length(self) -> int:
        return len(self._table.queue)

    @property
    def deploys(self) -> list[Deploy]:
        return list(self._table.deploys.values())

    def configure(self, settings: Settings, repos: Repos) -> None:
        """Go by these settings and repos from now on."""
        self.settings, self.repos = settings, repos
        self._log_budget.set_limit(settings.log_budget)
        self._prune_time = -PRUNE_AGAIN
        self._table.needs_schedule.set()

    def redis_full(self) -> None:
        """Make room in Redis, which takes no more writes."""
        self._log_budget.redis_full()

    @property
    def spool_news(self) -> asyncio.Event:
        """To be set when there may be a new file in the spool."""
        return self._intake.spool_news

    def mark_stale(self) -> None:
        """Look for jobs that were accepted while Redis was away."""
        self._intake.mark_stale()

    async def resume(self) -> None:
        """Take in again all jobs that the daemon before had accepted."""
        self.is_paused = await self._store.is_paused()
        jobs = await self._prune()
        self._log_budget.add(job.id for job in jobs if is_final(job.state))
        for job in jobs:
            if job.state not in ("", State.QUEUED) and job.deploys_tip:
                self._table.note_begin(job.repo, job.ref, job, self._host.present())
        await self._intake.sweep()
        # Files of jobs that have ended, or that the daemon before had not begun.
        begun_jobs = [deploy.job for deploy in self.deploys]
        begun_jobs += [leftover.job for leftover in self._table.leftovers.values()]
        live_files = {self._host.job_file(job) for job in begun_jobs}
        for file in self._host.job_files.glob("*"):
            if file not in live_files:
                file.unlink(missing_ok=True)

    async def run(self) -> None:
        """Take, begin and end jobs until cancelled. Builds go on then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._intake.run())
            group.create_task(self._begin_jobs(group))
            group.create_task(self._clear_leftovers())
            group.create_task(self._log_budget.run())

    # -- jobs on their way -------------------------------------------------------------------------------------

    async def _begin_jobs(self, group: asyncio.TaskGroup) -> None:
        started_ids: set[str] = set()
        while True:
            self._table.needs_schedule.clear()
            await self._end_all(self._superseded_jobs())
            await self._end_all(self._begin_runnable_jobs())
            started_ids &= set(self._table.deploys)
            for job_id, deploy in self._table.deploys.items():
                if job_id not in started_ids:
                    started_ids.add(job_id)
                    group.create_task(self._run_deploy(deploy))
            self._listener.queue_changed()
            if (
                self._closing.end_count >= self._prune_count
                or asyncio.get_running_loop().time() > self._prune_time + PRUNE_AGAIN
            ):
                await self._prune()
            await self._table.needs_schedule.wait()

    def _superseded_jobs(self) -> list[JobEnd]:
        """Take jobs out of the queue that a newer push makes needless; their ends."""
        ends = []
        for job, newer in self._table.queue.superseded_jobs():
            self._table.dequeue_to_end(job)
            push = f"what {job.ref} is at then" if newer.revision == TIP else f"a newer push of {job.ref}"
            ends.append(JobEnd(job.id, job.repo, State.SUPERSEDED, f"job {newer.id} deploys {push}"))
        return ends

    def _begin_runnable_jobs(self) -> list[JobEnd]:
        """Begin the jobs that may; the ends of those that never will, which are out of the queue."""
        if self.is_paused or self._intake.is_sweeping:
            return []
        ends = []
        busy_repos = {deploy.repo.name: deploy.repo.user for deploy in self._table.deploys.values()}
        parallel = self.settings.parallel
        jobs = schedule.runnable_jobs(self._table.queue.heads(), busy_repos, parallel, self.repos.user_of)
        building_users = {deploy.repo.user for deploy in self._table.deploys.values() if deploy.touches_images}
        for job in schedule.apart(jobs, building_users, self.repos.images_user_of):
            repo = self.repos.by_name.get(job.repo)
            if repo and repo.deploys(job.ref):
                self._table.queue.remove(job)
                self._start_deploy(job, repo)
                continue
            self._table.dequeue_to_end(job)
            self._table.needs_schedule.set()  # its place is free again
            reason = f"the repo {job.repo} deploys {' '.join(repo.refs)}, not {job.ref}" if repo else ""
            reason = reason or self.repos.missing_reason(job.repo)
            ends.append(JobEnd(job.id, job.repo, State.REJECTED, reason))
        return ends

    async def _end_all(self, ends: Sequence[JobEnd]) -> None:
        """End jobs, which may take long while Redis is away. Who cancels one meanwhile takes it out of those that are
        left."""
        self._ends |= {end.job_id: end for end in ends}
        while self._ends:
            ids = list(islice(self._ends, ENDS_AT_ONCE))
            await self._closing.end(*(self._ends.pop(job_id) for job_id in ids))

    def _resume_deploy(self, job: Job, user: str) -> None:
        """Resume a job for the user for whom it was begun: its build is in that user's manager."""
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
        self._table.deploys[job.id] = Deploy(
            job,
            repo,
            self._store,
            self._managers,
            Limits(log=self.settings.log_max, output=self.settings.output_max),
            self._listener,
            self._host,
            predecessors=self._table.leftovers_of(job.repo, repo.user),
            abandon_reason=abandon_reason,
            on_build_end=self._table.needs_schedule.set,
        )
        if job.deploys_tip:
            self._table.note_begin(job.repo, job.ref, job, self._host.present())

    async def _run_deploy(self, deploy: Deploy) -> None:
        is_clear = False
        try:
            is_clear = await deploy.run()
        except Exception as error:  # a defect must end this job, and no other
            about = fields(job=deploy.job.id, repo=deploy.repo.name, message_id=catalog.DEFECT)
            log.exception("job %s: internal error", deploy.job.id, extra=about)
            reason = f"an internal error of tinyci ({type(error).__name__}): journalctl -u tinyci"
            await self._closing.write(JobEnd(deploy.job.id, deploy.repo.name, State.FAILED, reason))
        finally:
            if not is_clear:
                self._table.add_leftover(deploy.job, deploy.repo.user)
            del self._table.deploys[deploy.job.id]
            self._closing.end_count += 1
            self._log_budget.add([deploy.job.id])
            self._table.needs_schedule.set()

    async def _clear_leftovers(self) -> None:
        """Clear ended jobs away, in a task of its own: a manager that is away must not delay the jobs of others."""
        table = self._table
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP if table.leftovers else None):
                    await table.has_leftovers.wait()
            table.has_leftovers.clear()
            async with asyncio.TaskGroup() as group:
                for leftover in table.leftovers.values():
                    group.create_task(self._clear_leftover(leftover))

    async def _clear_leftover(self, leftover: Leftover) -> None:
        job = leftover.job
        try:
            if await leftovers.clear(job, leftover.user, self._store, self._managers, self._host):
                del self._table.leftovers[job.id]
                self._uncleared_ids.discard(job.id)
        except Exception as error:  # whatever a manager answers: the id is still accepted, and this is tried again
            if job.id not in self._uncleared_ids:
                self._uncleared_ids.add(job.id)
                about = fields(job=job.id, repo=job.repo, message_id=catalog.LEFTOVER_FILE)
                log.error("job %s cannot be cleared away: %s", job.id, leaf_of(error), extra=about)

    async def _prune(self) -> list[KeptJob]:
        """Forget expired jobs. Returns all jobs that were kept before, in push order."""
        jobs = await self.kept_jobs()
        new_ids = await self._store.new_ids()
        open_ids = [job.id for job in jobs if retention.is_lost(job)]
        live_ids = await self._live_ids([*open_ids, *new_ids])  # later, so that a job which waits is not missed
        expired_ids = retention.expired_ids(
            jobs,
            self.settings.keep_jobs,
            self.settings.keep_age,
            self._host.present(),
            live_ids,
            {repo.name: repo.keep_images for repo in self.repos.by_name.values()},
        )
        await self._store.forget(expired_ids)
        self._log_budget.forget(expired_ids)
        lost_jobs = [job for job in jobs if retention.is_lost(job) and job.id not in (*live_ids, *expired_ids)]
        await self._end_lost(lost_jobs)
        await self._end_lost_new([job_id for job_id in new_ids if job_id not in live_ids])
        self._table.keep_refs((job.repo, job.ref) for job in jobs)
        self._closing.end_count, self._prune_time = 0, asyncio.get_running_loop().time()
        self._prune_count = max(PRUNE, (len(jobs) - len(expired_ids)) // _PRUNE_PART)
        if expired_ids:
            about = fields(message_id=catalog.JOBS_REMOVED)
            log.info("%d jobs were kept for long enough, and are forgotten", len(expired_ids), extra=about)
        return jobs

    async def _live_ids(self, job_ids: Sequence[str]) -> set[str]:
        """The ids that are in a list, accepted ones and others of `job_ids`. While many wait, all are taken for such:
        each is looked for in the whole queue, and it is short again in a moment."""
        if await self._store.queue_length() > _SHORT_QUEUE:
            return {*job_ids, *await self._store.accepted_ids()}
        return await self._store.live_ids(job_ids)

    async def _end_lost(self, jobs: Sequence[KeptJob]) -> None:
        """See to jobs that have not ended and are in no list, since somebody removed their ids there."""
        for job in jobs:
            with suppress(StoreError):
                state = (await self._store.job(job.id)).get("state", "")
                if is_final(state) or self._table.has(job.id):
                    continue  # it has ended, or was taken, since its list was read
                if state in ("", State.QUEUED):
                    await self._closing.end(JobEnd(job.id, job.repo, State.FAILED, _LOST_REASON))
                else:
                    await self._store.accept(job.id)
                    self._intake.mark_stale()

    async def _end_lost_new(self, job_ids: Sequence[str]) -> None:
        """See to jobs that the hook added and that are in no list, since somebody removed their ids there."""
        for job_id in job_ids:
            job_fields = (await self._store.admit([job_id], self._host.time()))[job_id]
            if isinstance(job_fields, StoreError):
                continue
            if "state" in job_fields:
                await self._store.forget_new(job_id)
            else:
                await self._closing.end(JobEnd(job_id, job_fields.get("repo", ""), State.FAILED, _LOST_REASON))

    # -- requests -----------------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> None:
        """End a job that waits or builds, as `cancelled`. Raises RequestError for any other job; for one that is past
        its build only at its end, since a restart is not cut off in the middle."""
        if (repo := self._take_waiting(job_id)) is not None:
            await self._closing.end(JobEnd(job_id, repo, State.CANCELLED, "cancelled before it began"))
            return
        deploy = self._table.deploys.get(job_id)
        if deploy is None:
            raise RequestError("AlreadyFinished", f"job {job_id} has ended, or there is no such job")
        if not await deploy.cancel():
            state = await deploy.wait_for_end()
            raise RequestError("AlreadyFinished", f"job {job_id} was past its build, and has ended: {state}")
        if (state := await deploy.wait_for_end()) is not State.CANCELLED:
            raise RequestError("AlreadyFinished", f"job {job_id} had come to its end before that: {state}")

    def _take_waiting(self, job_id: str) -> str | None:
        """Take a job that waits, for its begin or its end, out of its place, and return its repo; None for any other.
        Closing.end() is the next that happens to it."""
        if end := self._ends.pop(job_id, None):
            return end.repo
        if job := self._table.queue.get(job_id):
            self._table.dequeue_to_end(job)
            return job.repo
        return None

    async def kept_jobs(self) -> list[KeptJob]:
        """Return every kept job, in push order."""
        jobs = await self._store.kept_jobs()
        return retention.in_push_order(jobs, self._host.present())

    async def add(self, template: Mapping[str, str], pusher: str, extra: Mapping[str, str]) -> str:
        """Add a job like another one, with extra fields; return its id."""
        return await self._intake.add(template, pusher, extra)

    async def set_paused(self, *, paused: bool) -> None:
        """Begin no job any more, or begin them again. Running deploys go on."""
        async with self._pause_lock:  # else, of two at the same time, one could win in Redis and the other here
            await self._store.set_paused(paused=paused)
            self.is_paused = paused
        self._table.needs_schedule.set()
