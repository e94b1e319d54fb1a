"""The jobs that the daemon has: accepted in push order, begun as the schedule says, ended once.

An id stays in `tinyci:accepted` from the moment it is taken until nothing of its job is left; whatever is killed, the
next sweep finds it there.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from tinyci import catalog
from tinyci.api.requests import RequestError
from tinyci.daemon import spool
from tinyci.daemon.deploy import Deploy, OnChange, clear_away
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.output import Limits
from tinyci.model import retention, schedule
from tinyci.model.job import FINAL, Job, JobError, State
from tinyci.model.repo import Repo
from tinyci.model.repos import Repos
from tinyci.model.retention import KeptJob
from tinyci.model.settings import Settings
from tinyci.store.writer import Store, StoreError
from tinyci.systemd.journal import fields
from tinyci.systemd.managers import Managers

SWEEP = 30.0
"""Seconds between two looks for accepted jobs that nobody knows of."""
PRUNE = 100
"""Ended jobs between two looks for those that were kept for long enough; each look reads the whole index."""
PRUNE_AGAIN = 600.0
"""Seconds after which one looks anyway: jobs grow old also where none ends."""

log = logging.getLogger(__name__)


class Dispatch:
    """`tell` hears of every field of a job that is written, `on_count` when there are more or fewer of them."""

    def __init__(
        self,
        store: Store,
        managers: Managers,
        config: Settings,
        repos: Repos,
        on_change: OnChange,
        on_count: Callable[[], None],
        host: HostAccess | None = None,
    ) -> None:
        self.config = config
        self.repos = repos
        self.paused = False
        self._store = store
        self._managers = managers
        self._on_change = on_change
        self._on_count = on_count
        self._host = host or HostAccess()
        self._queued: list[Job] = []
        self._running: dict[str, Deploy] = {}
        self._accepting: set[str] = set()  # jobs of which Redis does not know yet that they are queued
        self._ending: set[str] = set()  # jobs that end without a deploy, until Redis knows all of it
        self._leftovers: dict[str, tuple[Job, str]] = {}  # ended jobs to be cleared away, with their users
        self._newest: dict[tuple[str, str], str] = {}  # by repo and ref, when the newest push that began was made
        self._left = asyncio.Event()
        self._wake = asyncio.Event()
        self._pausing = asyncio.Lock()
        self._unsure = True
        self._sweeping = False
        self._ended, self._pruned = 0, 0.0

    @property
    def queued(self) -> int:
        return len(self._queued)

    @property
    def running(self) -> list[Deploy]:
        return list(self._running.values())

    def wake(self) -> None:
        """What was configured has changed: the repos, how many may run, how many are kept."""
        self._pruned = -PRUNE_AGAIN
        self._wake.set()

    def mark_stale(self) -> None:
        """Redis was away: ids may be in `tinyci:accepted` whose taking was not acknowledged."""
        self._unsure = True

    async def resume(self) -> None:
        """Know again of everything that was accepted before this process was there."""
        self.paused = await self._store.paused()
        for job in await self._prune():
            if job.state not in ("", State.QUEUED):
                self._newest[job.repo, job.ref] = max(job.created, self._newest.get((job.repo, job.ref), ""))
        self._unsure = False
        await self._sweep()
        # The daemon before wrote the file of a job, and knew no more of it or had not begun it.
        begun = (*(deploy.job for deploy in self.running), *(job for job, _ in self._leftovers.values()))
        ours = {f"{job.hex}.json" for job in begun}
        for file in self._host.jobs.glob("*"):
            if file.name not in ours:
                file.unlink(missing_ok=True)

    async def run(self) -> None:
        """Take, begin and end jobs until cancelled. Builds are not ours to end: they go on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take())
            group.create_task(self._begin(group))
            group.create_task(self._clear())

    # -- jobs in -----------------------------------------------------------------------------------------------

    async def _take(self) -> None:
        """Accept jobs in push order. After an outage, or with files in the spool, older ones may have to come first:
        the sweep sorts them."""
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while True:
            job_id = await self._store.take()
            if self._unsure or loop.time() > swept + SWEEP or not spool.is_empty(self._host.spool):
                self._unsure = False
                await self._sweep()  # finds job_id too
                swept = loop.time()
            elif job_id:
                await self._accept(job_id, await self._fields(job_id))
                self._wake.set()

    async def _sweep(self) -> None:
        self._sweeping = True  # nothing begins before what may have to come before it is known
        try:
            if not spool.is_empty(self._host.spool):
                while await self._store.waiting():  # pushes from before the outage come before what is in the spool
                    await self._store.take()
                for kept in spool.jobs(self._host.spool):
                    await self._import_spooled(kept)
            for job_id in await self._store.accepted():
                if not self._knows(job_id):
                    await self._accept(job_id, await self._fields(job_id))
        finally:
            self._sweeping = False
            self._wake.set()

    def _knows(self, job_id: str) -> bool:
        known = job_id in self._running or job_id in self._leftovers
        known = known or job_id in self._ending or job_id in self._accepting
        return known or any(job.id == job_id for job in self._queued)

    async def _import_spooled(self, kept: spool.Spooled) -> None:
        problem = kept.problem
        if not problem:
            try:
                if await self._store.add(kept.id, {**kept.fields, "spooled": "true"}, kept.created):
                    log.info(
                        "job %s: taken in from the spool",
                        kept.id,
                        extra=fields(job=kept.id, message_id=catalog.SPOOL_TAKEN),
                    )
            except StoreError as error:
                problem = f"{kept.path}: {error}"
        if problem:
            log.error("%s; it is put aside as .bad", problem, extra=fields(message_id=catalog.SPOOL_WRONG))
            kept.path.rename(kept.path.with_suffix(".bad"))
        else:
            kept.path.unlink(missing_ok=True)

    async def _fields(self, job_id: str) -> dict[str, str] | None:
        """The hash of a job; None when something else is under its key, and then the id is dropped."""
        try:
            return await self._store.job(job_id)
        except StoreError as error:
            await self._drop(job_id, error)
            return None

    async def _drop(self, job_id: str, error: StoreError) -> None:
        about = fields(job=job_id, message_id=catalog.HASH_WRONG)
        log.error("job %s: %s; the id is dropped", job_id, error, extra=about)
        await self._store.release(job_id)

    async def _accept(self, job_id: str, values: dict[str, str] | None) -> None:
        """Take an id up where it stands: queue it, go on with it, or clear away what its end left."""
        if values is None or self._knows(job_id):
            return
        self._accepting.add(job_id)  # until the queue has it, a sweep would find it too
        try:
            await self._enter(job_id, values)
        finally:
            self._accepting.discard(job_id)

    async def _enter(self, job_id: str, values: dict[str, str]) -> None:
        try:
            job = Job.parse(job_id, values)
        except JobError as error:
            self._on_change(job_id, values.get("repo", ""), {**values, "state": State.QUEUED})
            await self._end(job_id, values.get("repo", ""), State.REJECTED, str(error))
            return
        user = values.get("user", "")
        if job.state in FINAL:
            self._leave(job, user)
            return
        if job.state is State.QUEUED:
            # A shell script that made it did not say when.
            queued = {"state": State.QUEUED, "created": job.created or self._host.now()}
            if not await self._announce(job_id, queued):
                return
            job = replace(job, created=queued["created"])
            self._on_change(job.id, job.repo, {**values, **queued})
            if values.get("spooled"):
                await self._queue_late(job)
            else:
                self._queued.append(job)
        else:
            self._on_change(job.id, job.repo, {**values, "state": job.state})
            self._go_on(job, user)

    async def _announce(self, job_id: str, queued: Mapping[str, str]) -> bool:
        """Write that a job is queued, and its event, unless that was done before. False when it is no such job any
        more: the next sweep looks at it anew."""
        try:
            return await self._store.update(job_id, queued)
        except StoreError as error:
            await self._drop(job_id, error)
            return False

    def _go_on(self, job: Job, user: str) -> None:
        """A job that is on its way stays with the user it was begun for: its build is in that user's manager."""
        known, doom = self.repos.known.get(job.repo), ""
        user = user or (known.user if known else "root")
        if known is None:
            known, doom = Repo.gone(job.repo, user), f"while it was {job.state}: {self.repos.missing(job.repo)}"
        elif user != known.user:
            doom = f"while it was {job.state}, the user of the repo was changed from {user} to {known.user}: push again"
        self._run(job, known._replace(user=user), doom)

    async def _queue_late(self, job: Job) -> None:
        """A job out of the spool comes to its place among those that went past it. Only these are told by their time:
        the others come in push order, whatever the clock does."""
        if job.created < self._newest.get((job.repo, job.ref), ""):
            await self._end(job.id, job.repo, State.SUPERSEDED, f"a newer push of {job.ref} began before it")
            return
        of_repo = [i for i, each in enumerate(self._queued) if each.repo == job.repo]
        # Behind the last older one, and not before the first newer one: the times need not be in order.
        after = max((i for i in of_repo if self._queued[i].created <= job.created), default=-1)
        newer = (i for i in of_repo if i > after)
        self._queued.insert(next(newer, len(self._queued)), job)

    # -- jobs on their way -------------------------------------------------------------------------------------

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        begun: set[str] = set()
        while True:
            self._wake.clear()
            for job, newer in schedule.superseded(self._queued):
                self._queued.remove(job)
                reason = f"job {newer.id} deploys a newer push of {job.ref}"
                await self._end(job.id, job.repo, State.SUPERSEDED, reason)
            await self._begin_runnable()
            begun &= set(self._running)
            for job_id, deploy in self._running.items():
                if job_id not in begun:
                    begun.add(job_id)
                    group.create_task(self._deploy(deploy))
            self._on_count()
            if self._ended >= PRUNE or asyncio.get_running_loop().time() > self._pruned + PRUNE_AGAIN:
                await self._prune()
            await self._wake.wait()

    async def _begin_runnable(self) -> None:
        if self.paused or self._sweeping:
            return
        busy = {deploy.repo.name for deploy in self._running.values()}
        for job in schedule.runnable(self._queued, busy, self.config.parallel):
            self._queued.remove(job)
            known = self.repos.known.get(job.repo)
            if known and known.deploys(job.ref):
                self._run(job, known)
                continue
            self._wake.set()  # its place is free again
            reason = f"the repo {job.repo} deploys {' '.join(known.refs)}, not {job.ref}" if known else ""
            await self._end(job.id, job.repo, State.REJECTED, reason or self.repos.missing(job.repo))

    def _run(self, job: Job, known: Repo, doom: str = "") -> None:
        self._running[job.id] = Deploy(
            *(job, known, self._store, self._managers),
            *(Limits(log=self.config.log_max, output=self.config.output_max), self._on_change, self._host),
            leftovers=[left for left, user in self._leftovers.values() if (left.repo, user) == (job.repo, known.user)],
            abandon_reason=doom,
        )
        key = (job.repo, job.ref)
        self._newest[key] = max(job.created, self._newest.get(key, ""))

    async def _deploy(self, deploy: Deploy) -> None:
        is_clear = False
        try:
            is_clear = await deploy.run()
        except Exception as error:  # a defect of ours must end this job, and no other
            about = fields(job=deploy.job.id, repo=deploy.repo.name, message_id=catalog.DEFECT)
            log.exception("job %s: internal error", deploy.job.id, extra=about)
            reason = f"an internal error of tinyci ({type(error).__name__}): journalctl -u tinyci"
            await self._write_end(deploy.job.id, deploy.repo.name, State.FAILED, reason)
        finally:
            if not is_clear:
                self._leave(deploy.job, deploy.repo.user)
            del self._running[deploy.job.id]
            self._ended += 1
            self._wake.set()

    def _leave(self, job: Job, user: str) -> None:
        """Clear an ended job away when its manager is there for it."""
        self._leftovers[job.id] = (job, user)
        self._left.set()

    async def _clear(self) -> None:
        """Apart from everything else: a manager that is away must not hold up the jobs of others."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP if self._leftovers else None):
                    await self._left.wait()
            self._left.clear()
            async with asyncio.TaskGroup() as group:
                for job, user in self._leftovers.values():
                    group.create_task(self._clear_one(job, user))

    async def _clear_one(self, job: Job, user: str) -> None:
        try:
            if await clear_away(job, user, self._store, self._managers, self._host):
                del self._leftovers[job.id]
        except OSError as error:  # the id is still accepted, and this is tried again
            about = fields(job=job.id, repo=job.repo, message_id=catalog.NOT_CLEARED)
            log.error("job %s cannot be cleared away: %s", job.id, error, extra=about)

    async def _end(self, job_id: str, repo: str, state: State, reason: str) -> None:
        """End a job that has no deploy, so that nothing of it is in systemd."""
        self._ending.add(job_id)  # a sweep would find it accepted, still queued, and queue it behind newer ones
        try:
            await self._write_end(job_id, repo, state, reason)
            await self._store.release(job_id)
        finally:
            self._ending.discard(job_id)
        self._ended += 1

    async def _write_end(self, job_id: str, repo: str, state: State, reason: str) -> None:
        ended = {"state": state, "success": "false", "reason": reason, "output": "", "finished": self._host.now()}
        try:
            if await self._store.update(job_id, ended):
                self._on_change(job_id, repo, ended)
        except StoreError as error:
            about = fields(job=job_id, repo=repo, message_id=catalog.HASH_WRONG)
            log.error("job %s: %s", job_id, error, extra=about)

    async def _prune(self) -> list[KeptJob]:
        """Forget what was kept for long enough. Returns what there was."""
        kept = await self._store.kept()
        live = await self._store.live()  # later, so that no job of `kept` is missed while it waits
        gone = retention.expired(kept, self.config.keep_jobs, self.config.keep_age, self._host.time(), live)
        await self._store.forget(gone)
        refs = {(job.repo, job.ref) for job in kept} | {(d.job.repo, d.job.ref) for d in self.running}
        self._newest = {ref: made for ref, made in self._newest.items() if ref in refs}
        self._ended, self._pruned = 0, asyncio.get_running_loop().time()
        if gone:
            about = fields(message_id=catalog.FORGOTTEN)
            log.info("%d jobs were kept for long enough, and are forgotten", len(gone), extra=about)
        return kept

    # -- what people ask ---------------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> None:
        """End a job that waits or builds, as `cancelled`. Raises RequestError when it is past that, and then not
        before its restart has ended: that is not cut off in the middle."""
        for job in self._queued:
            if job.id == job_id:
                self._queued.remove(job)
                await self._end(job.id, job.repo, State.CANCELLED, "cancelled before it began")
                return
        deploy = self._running.get(job_id)
        if deploy is None:
            raise RequestError("AlreadyFinished", f"job {job_id} has ended, or there is no such job")
        if not await deploy.cancel():
            state = await deploy.ended()
            raise RequestError("AlreadyFinished", f"job {job_id} was past its build, and has ended: {state}")
        if (state := await deploy.ended()) is not State.CANCELLED:
            raise RequestError("AlreadyFinished", f"job {job_id} had come to its end before that: {state}")

    async def add(self, like: Mapping[str, str], pusher: str, more: Mapping[str, str]) -> str:
        """A new job for what another one was for; its id."""
        new, created = str(uuid.uuid4()), self._host.now()
        copied = {name: like.get(name, "") for name in ("repo", "ref", "revision", "previous")}
        copied |= {"pusher": pusher, "created": created, **more}
        self._accepting.add(new)  # who asked finds it on the bus when this returns, not after a sweep
        try:
            await self._store.add(new, copied, datetime.fromisoformat(created).timestamp())
            await self._enter(new, copied)
        finally:
            self._accepting.discard(new)
        self._wake.set()
        return new

    async def pause(self, paused: bool) -> None:
        """Begin nothing new, or go on. What runs is not touched."""
        async with self._pausing:  # else of two at once one could have the word in Redis, and the other here
            await self._store.pause(paused)
            self.paused = paused
        self._wake.set()
