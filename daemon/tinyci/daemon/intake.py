"""Jobs on their way in: from the queue, from the spool, and from the daemon that ran before.

An id stays in `tinyci:accepted` from the moment it is taken until nothing of its job is left; whatever is killed, the
next sweep finds it there.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from tinyci import catalog
from tinyci.daemon import spool
from tinyci.daemon.closing import Closing
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.jobrecord import OnChange
from tinyci.daemon.jobtable import JobTable
from tinyci.log import fields
from tinyci.model.job import Job, JobError
from tinyci.model.state import State
from tinyci.store.writer import StoreError, StoreWriter

SWEEP = 30.0
"""Seconds between two looks for accepted jobs that nobody knows of."""

log = logging.getLogger(__name__)


class Intake:
    """Takes jobs in, in push order."""

    def __init__(
        self,
        store: StoreWriter,
        table: JobTable,
        closing: Closing,
        on_change: OnChange,
        host: HostAccess,
        on_entry: Callable[[], None],
        resume: Callable[[Job, str], None],
    ) -> None:
        """`on_entry`: called when jobs were queued. `resume`: takes a job that was on its way, and the user it was
        begun for, if its hash names one."""
        self._store = store
        self._table = table
        self._closing = closing
        self._on_change = on_change
        self._host = host
        self._on_entry = on_entry
        self._resume = resume
        self._is_stale = True
        self.is_sweeping = False
        """Nothing begins before what may have to come before it is known."""

    def mark_stale(self) -> None:
        """Redis was away: ids may be in `tinyci:accepted` whose taking was not acknowledged."""
        self._is_stale = True

    async def run(self) -> None:
        """Accept jobs until cancelled. After an outage, or with files in the spool, older ones may have to come first:
        the sweep sorts them."""
        loop = asyncio.get_running_loop()
        last_sweep = loop.time()
        while True:
            job_id = await self._store.take()
            if self._is_stale or loop.time() > last_sweep + SWEEP or not spool.is_empty(self._host.spool):
                await self.sweep()  # finds job_id too
                last_sweep = loop.time()
            elif job_id:
                await self._accept(job_id)
                self._on_entry()

    async def sweep(self) -> None:
        """Know of every accepted job, and of those in the spool."""
        self._is_stale, self.is_sweeping = False, True
        try:
            if not spool.is_empty(self._host.spool):
                while (
                    await self._store.queue_length()
                ):  # pushes from before the outage come before what is in the spool
                    await self._store.take()
                for spooled in spool.jobs(self._host.spool):
                    await self._import_spooled(spooled)
            for job_id in await self._store.accepted_ids():
                await self._accept(job_id)
        finally:
            self.is_sweeping = False
            self._on_entry()

    async def add(self, like: Mapping[str, str], pusher: str, more: Mapping[str, str]) -> str:
        """Add a new job for what another one was for; its id. Who asked finds it on the bus when this returns."""
        new, created = str(uuid.uuid4()), self._host.now()
        copied = {name: like.get(name, "") for name in ("repo", "ref", "revision", "previous")}
        copied |= {"pusher": pusher, "created": created, **more}
        self._table.accepting.add(new)
        try:
            await self._store.add(new, copied, datetime.fromisoformat(created).timestamp())
            await self._enter(new, copied)
        finally:
            self._table.accepting.discard(new)
        self._on_entry()
        return new

    async def _import_spooled(self, spooled: spool.Spooled) -> None:
        problem = spooled.problem
        if not problem:
            try:
                if await self._store.add(spooled.id, {**spooled.fields, "spooled": "true"}, spooled.created):
                    about = fields(job=spooled.id, message_id=catalog.SPOOLED_JOB)
                    log.info("job %s: taken in from the spool", spooled.id, extra=about)
            except StoreError as error:
                problem = f"{spooled.path}: {error}"
        if problem:
            log.error("%s; it is put aside as .bad", problem, extra=fields(message_id=catalog.WRONG_SPOOL_FILE))
            spooled.path.rename(spooled.path.with_suffix(".bad"))
        else:
            spooled.path.unlink(missing_ok=True)

    async def _accept(self, job_id: str) -> None:
        """Take an id up where it stands, unless it is known. One whose key holds something else is dropped."""
        if self._table.knows(job_id):
            return
        try:
            values = await self._store.job(job_id)
        except StoreError as error:
            await self._closing.drop(job_id, error)
            return
        if self._table.knows(job_id):  # somebody added it while Redis answered
            return
        self._table.accepting.add(job_id)
        try:
            await self._enter(job_id, values)
        finally:
            self._table.accepting.discard(job_id)

    async def _enter(self, job_id: str, values: Mapping[str, str]) -> None:
        """Queue a job, go on with it, or have cleared away what its end left."""
        try:
            job = Job.parse(job_id, values)
        except JobError as error:
            self._on_change(job_id, values.get("repo", ""), {**values, "state": State.QUEUED})
            await self._closing.end(job_id, values.get("repo", ""), State.REJECTED, str(error))
            return
        user = values.get("user", "")
        if job.state.is_final:
            self._table.leave(job, user)
        elif job.state is State.QUEUED:
            await self._queue(job, values)
        else:
            self._on_change(job.id, job.repo, {**values, "state": job.state})
            self._resume(job, user)

    async def _queue(self, job: Job, values: Mapping[str, str]) -> None:
        """Queue a job, and write so with its event, unless that was done before."""
        # A shell script that made it did not say when.
        queued = {"state": State.QUEUED, "created": job.created or self._host.now()}
        try:
            if not await self._store.update(job.id, queued):
                return  # no such job any more: the next sweep looks at it anew
        except StoreError as error:
            await self._closing.drop(job.id, error)
            return
        job = replace(job, created=queued["created"])
        self._on_change(job.id, job.repo, {**values, **queued})
        if not values.get("spooled"):
            self._table.queue(job)
        elif self._table.is_outdated(job):
            reason = f"a newer push of {job.ref} began before it"
            await self._closing.end(job.id, job.repo, State.SUPERSEDED, reason)
        else:
            self._table.queue_late(job)
