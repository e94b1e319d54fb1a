"""The intake of jobs: from the queue, from the spool, and from the daemon that ran before.

An id stays in `tinyci:accepted` from the moment it is taken until nothing of its job is left; whatever is killed, the
next sweep finds it there.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from tinyci import catalog
from tinyci.daemon import spool
from tinyci.daemon.closing import Closing, JobEnd
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.jobtable import JobTable
from tinyci.daemon.listener import Listener
from tinyci.log import fields
from tinyci.model.job import ID_MAX, Job, JobError
from tinyci.model.state import State
from tinyci.model.text import visible
from tinyci.runtime.waiting import first_of
from tinyci.store.writer import StoreError, StoreWriter

SWEEP = 30.0
"""Seconds between two looks for accepted ids that are not in the table."""
_SPOOL_PAUSE = 1.0
"""Seconds from a sweep to the next one for the sake of the spool: anybody who pushes may put files into it."""
_BATCH = 500
"""Number of jobs that are taken in at once."""

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
        self.spool_news = asyncio.Event()
        """Set when there may be a new file in the spool."""
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
            job_ids = await self._take_or_hear(last_sweep + _SPOOL_PAUSE)
            if self._is_stale or loop.time() > last_sweep + SWEEP or self._spool_names():
                await self.sweep()  # finds them too
                last_sweep = loop.time()
            elif job_ids:
                await self._accept(job_ids)
                self._table.needs_schedule.set()

    async def _take_or_hear(self, earliest: float) -> list[str]:
        """Take ids, or none if there are news of the spool before, heard from that time of the loop on."""
        taking = asyncio.ensure_future(self._take())
        await first_of(taking, self._wait_for_spool(earliest))
        await asyncio.wait((taking,))
        if taking.cancelled():
            self.mark_stale()  # it may have taken something all the same
            return []
        return taking.result()

    async def _wait_for_spool(self, earliest: float) -> None:
        """Wait for news of the spool, and do not return before that time of the loop."""
        await asyncio.sleep(earliest - asyncio.get_running_loop().time())
        await self.spool_news.wait()
        self.spool_news.clear()

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
            await self._accept(await self._store.accepted_ids())
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
            await self._enter({job_id: fields})
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

    async def _take(self) -> list[str]:
        """Take the ids that wait longest, if one comes soon. Anything longer is dropped at once: many of them would be
        more than there is memory for."""
        job_id = await self._store.take()
        if job_id is None:
            return []
        if is_long := len(job_id) > ID_MAX:
            await self._store.release(job_id)
        ids, lengths = await self._store.take_more(_BATCH - 1)
        for length in [len(job_id)] * is_long + lengths:
            about = fields(message_id=catalog.WRONG_HASH)
            log.error("the queue held a text of %d characters, which is no job id; it is dropped", length, extra=about)
        return ids if is_long else [job_id, *ids]

    def _spool_names(self) -> list[str]:
        return spool.names(self._host.spool, self._stuck_names)

    async def _accept(self, job_ids: Sequence[str]) -> None:
        """Put the jobs of ids into the table that are not there. An id whose key holds no job is dropped."""
        for start in range(0, len(job_ids), _BATCH):
            part = [job_id for job_id in dict.fromkeys(job_ids[start : start + _BATCH]) if not self._table.has(job_id)]
            if not part:
                continue
            hashes = await self._store.admit(part, self._host.time())
            entries: dict[str, Mapping[str, str]] = {}
            for job_id, job_fields in hashes.items():
                if isinstance(job_fields, StoreError):
                    await self._closing.drop(job_id, job_fields)
                elif not self._table.has(job_id):  # else it was added while Redis answered
                    entries[job_id] = job_fields
            self._table.accepting.update(entries)
            try:
                await self._enter(entries)
            finally:
                self._table.accepting.difference_update(entries)

    async def _enter(self, hashes: Mapping[str, Mapping[str, str]]) -> None:
        """Queue jobs, resume them, or have their leftovers cleared away."""
        queued_jobs: list[Job] = []
        for job_id, job_fields in hashes.items():
            try:
                job = Job.parse(job_id, job_fields)
            except JobError as error:
                repo = job_fields.get("repo", "")
                self._listener.job_changed(job_id, repo, {**job_fields, "state": State.QUEUED})
                await self._closing.end(JobEnd(job_id, repo, State.REJECTED, str(error)))
                continue
            user = job_fields.get("user", "")
            if job.state.is_final:
                self._table.add_leftover(job, user)
            elif job.state is State.QUEUED:
                queued_jobs.append(job)
            else:
                self._listener.job_changed(job.id, job.repo, {**job_fields, "state": job.state})
                self._resume(job, user)
        if queued_jobs:
            await self._enqueue(queued_jobs, hashes)

    async def _enqueue(self, jobs: Sequence[Job], hashes: Mapping[str, Mapping[str, str]]) -> None:
        """Queue jobs, and write their state unless Redis has it."""
        changes: dict[str, dict[str, str]] = {}
        for job in jobs:
            # A shell script that made the job wrote no time.
            changes[job.id] = {"state": State.QUEUED, "created": job.created or self._host.now(), "moment": job.moment}
            is_spooled = hashes[job.id].get("spooled")
            if not is_spooled and not self._host.present().moment_of_past(job.moment):
                changes[job.id]["moment"] = str(self._host.moment())
        results = await self._store.update_all(changes)
        for job in jobs:
            result, change = results[job.id], changes[job.id]
            if isinstance(result, StoreError):
                await self._closing.drop(job.id, result)
            elif result:  # else it has ended meanwhile: the next sweep looks at it anew
                job = job._replace(created=change["created"], moment=change["moment"])
                job_fields = hashes[job.id]
                self._listener.job_changed(job.id, job.repo, {**job_fields, **change})
                await self._line_up(job, is_spooled=bool(job_fields.get("spooled")))

    async def _line_up(self, job: Job, *, is_spooled: bool) -> None:
        """Put a job into its place in the queue; or end it, if it comes too late out of the spool."""
        if not is_spooled:
            self._table.queue.add(job)
        elif self._table.is_outdated(job, self._host.present()):
            reason = f"a newer push of {job.ref} began before it"
            await self._closing.end(JobEnd(job.id, job.repo, State.SUPERSEDED, reason))
        else:
            self._table.queue.add_spooled(job, self._host.present())
