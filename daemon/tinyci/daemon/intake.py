"""The intake of jobs: from the queue, from the spool, and from the daemon that ran before.

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
from tinyci.daemon.jobtable import JobTable
from tinyci.daemon.listener import Listener
from tinyci.log import fields
from tinyci.model.job import ID_MAX, Job, JobError
from tinyci.model.state import State
from tinyci.model.text import visible
from tinyci.store.writer import StoreError, StoreWriter

SWEEP = 30.0
"""Seconds between two looks for accepted ids that are not in the table."""

log = logging.getLogger(__name__)


class Intake:
    """Takes jobs in, in push order."""

    def __init__(
        self,
        store: StoreWriter,
        table: JobTable,
        closing: Closing,
        listener: Listener,
        host: HostAccess,
        resume: Callable[[Job, str], None],
    ) -> None:
        """`resume`: takes a job that was on its way, and the user in its hash, who may be missing."""
        self._store = store
        self._table = table
        self._closing = closing
        self._listener = listener
        self._host = host
        self._resume = resume
        self._is_stale = True
        self._stuck_names: set[str] = set()
        """Names of files in the spool that are done with and can neither be removed nor renamed."""
        self.is_sweeping = False
        """No job begins meanwhile: one that must come first may not be known yet."""

    def mark_stale(self) -> None:
        """Sweep next time: Redis was away, and may have moved an id to `tinyci:accepted` without our seeing it."""
        self._is_stale = True

    async def run(self) -> None:
        """Accept jobs until cancelled. After an outage, or with files in the spool, older ones may have to come first:
        the sweep sorts them."""
        loop = asyncio.get_running_loop()
        last_sweep = loop.time()
        while True:
            job_id = await self._take()
            if self._is_stale or loop.time() > last_sweep + SWEEP or self._spool_names():
                await self.sweep()  # finds job_id too
                last_sweep = loop.time()
            elif job_id:
                await self._accept(job_id)
                self._table.needs_schedule.set()

    async def sweep(self) -> None:
        """Put every accepted job, and those in the spool, into the table."""
        self._is_stale, self.is_sweeping = False, True
        try:
            if self._spool_names():
                # Pushes from before the outage come before those in the spool.
                while await self._store.queue_length():
                    await self._take()
                for spool_file in spool.read(self._host.spool, self._stuck_names):
                    await self._import_spooled(spool_file)
            for job_id in await self._store.accepted_ids():
                await self._accept(job_id)
        finally:
            self.is_sweeping = False
            self._table.needs_schedule.set()

    async def add(self, template: Mapping[str, str], pusher: str, extra: Mapping[str, str]) -> str:
        """Add a job like another one, with extra fields; return its id. It is on the bus when this returns."""
        job_id, now = str(uuid.uuid4()), self._host.now()
        fields = {name: template.get(name, "") for name in ("repo", "ref", "revision", "previous")}
        fields |= {"pusher": pusher, "created": now, "moment": str(self._host.moment()), **extra}
        self._table.accepting.add(job_id)
        try:
            await self._store.add(job_id, fields, datetime.fromisoformat(now).timestamp())
            await self._enter(job_id, fields)
        finally:
            self._table.accepting.discard(job_id)
        self._table.needs_schedule.set()
        return job_id

    async def _import_spooled(self, spool_file: spool.SpoolFile) -> None:
        problem = spool_file.problem
        if not problem:
            try:
                if await self._store.add(spool_file.id, {**spool_file.fields, "spooled": "true"}, spool_file.time):
                    about = fields(job=spool_file.id, message_id=catalog.SPOOLED_JOB)
                    log.info("job %s: taken in from the spool", spool_file.id, extra=about)
            except StoreError as error:
                problem = visible(f"{spool_file.path}: {error}")
        try:
            if problem:
                log.error("%s; it is put aside as .bad", problem, extra=fields(message_id=catalog.WRONG_SPOOL_FILE))
                spool_file.path.rename(spool_file.path.with_suffix(".bad"))
            else:
                spool_file.path.unlink(missing_ok=True)
        except OSError as error:  # such as a directory with the name of the .bad file
            self._stuck_names.add(spool_file.path.name)
            about = fields(message_id=catalog.WRONG_SPOOL_FILE)
            path = visible(str(spool_file.path))
            log.error("%s cannot be moved (%s): it is left there, remove it", path, error.strerror, extra=about)

    async def _take(self) -> str | None:
        """Take the id that waits longest, if one comes soon. Anything longer is dropped at once: many of them would be
        more than there is memory for."""
        job_id = await self._store.take()
        if job_id and len(job_id) > ID_MAX:
            about = fields(message_id=catalog.WRONG_HASH)
            log.error(
                "the queue held a text of %d characters, which is no job id; it is dropped", len(job_id), extra=about
            )
            await self._store.release(job_id)
            return None
        return job_id

    def _spool_names(self) -> list[str]:
        return spool.names(self._host.spool, self._stuck_names)

    async def _accept(self, job_id: str) -> None:
        """Put the job of an id into the table, unless it is there. An id whose key holds no job is dropped."""
        if self._table.has(job_id):
            return
        try:
            job_fields = await self._store.admit(job_id, self._host.time())
        except StoreError as error:
            await self._closing.drop(job_id, error)
            return
        if self._table.has(job_id):  # added while Redis answered
            return
        self._table.accepting.add(job_id)
        try:
            await self._enter(job_id, job_fields)
        finally:
            self._table.accepting.discard(job_id)

    async def _enter(self, job_id: str, fields: Mapping[str, str]) -> None:
        """Queue a job, resume it, or have its leftovers cleared away."""
        try:
            job = Job.parse(job_id, fields)
        except JobError as error:
            self._listener.job_changed(job_id, fields.get("repo", ""), {**fields, "state": State.QUEUED})
            await self._closing.end(job_id, fields.get("repo", ""), State.REJECTED, str(error))
            return
        user = fields.get("user", "")
        if job.state.is_final:
            self._table.add_leftover(job, user)
        elif job.state is State.QUEUED:
            await self._enqueue(job, fields)
        else:
            self._listener.job_changed(job.id, job.repo, {**fields, "state": job.state})
            self._resume(job, user)

    async def _enqueue(self, job: Job, fields: Mapping[str, str]) -> None:
        """Queue a job, and write its state unless Redis has it."""
        # A shell script that made the job wrote no time.
        changes = {"state": State.QUEUED, "created": job.created or self._host.now(), "moment": job.moment}
        if not fields.get("spooled") and not self._host.present().moment_of_past(job.moment):
            changes["moment"] = str(self._host.moment())
        try:
            if not await self._store.update(job.id, changes):
                return  # it has ended meanwhile: the next sweep looks at it anew
        except StoreError as error:
            await self._closing.drop(job.id, error)
            return
        job = replace(job, created=changes["created"], moment=changes["moment"])
        self._listener.job_changed(job.id, job.repo, {**fields, **changes})
        if not fields.get("spooled"):
            self._table.queue.add(job)
        elif self._table.is_outdated(job, self._host.present()):
            reason = f"a newer push of {job.ref} began before it"
            await self._closing.end(job.id, job.repo, State.SUPERSEDED, reason)
        else:
            self._table.queue.add_spooled(job, self._host.present())
