"""The end of jobs without a deploy: rejected, superseded, cancelled before they began, or stopped by a defect."""

import logging
from typing import NamedTuple

from tinyci import catalog
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.jobtable import JobTable
from tinyci.daemon.listener import Listener
from tinyci.log import fields
from tinyci.model.state import State
from tinyci.store.writer import StoreError, StoreWriter

log = logging.getLogger(__name__)


class JobEnd(NamedTuple):
    """The end of a job that never begins."""

    job_id: str
    repo: str
    state: State
    reason: str


class Closing:
    """Writes final states."""

    def __init__(self, store: StoreWriter, table: JobTable, listener: Listener, host: HostAccess) -> None:
        self._store = store
        self._table = table
        self._listener = listener
        self._host = host
        self.end_count = 0
        """Number of jobs that have ended; the pruning resets it."""

    async def end(self, *ends: JobEnd) -> None:
        """End jobs that have nothing in systemd."""
        ids = [end.job_id for end in ends]
        self._table.ending.update(
            ids
        )  # a sweep would find them accepted, still queued, and queue them behind newer ones
        try:
            await self.write(*ends)
            await self._store.release(*ids)
        finally:
            self._table.ending.difference_update(ids)
        self.end_count += len(ends)

    async def write(self, *ends: JobEnd) -> None:
        """Write final states, except into hashes that have one."""
        about = {"success": "false", "output": "", "finished": self._host.now()}
        changes = {end.job_id: {"state": end.state, "reason": end.reason, **about} for end in ends}
        results = await self._store.update_all(changes)
        ids = [job_id for job_id in changes if results[job_id] is True and self._listener.lacks_fields(job_id)]
        hashes = await self._store.admit(ids, self._host.time()) if ids else {}
        for end in ends:
            result, job_fields = results[end.job_id], hashes.get(end.job_id, {})
            change = changes[end.job_id]
            if isinstance(result, StoreError):
                about = fields(job=end.job_id, repo=end.repo, message_id=catalog.WRONG_HASH)
                log.error("job %s: %s", end.job_id, result, extra=about)
            elif result:
                others = {} if isinstance(job_fields, StoreError) else job_fields
                self._listener.job_changed(end.job_id, end.repo, {**others, **change})

    async def drop(self, job_id: str, error: StoreError) -> None:
        """Drop an id whose key holds no job."""
        about = fields(job=job_id, message_id=catalog.WRONG_HASH)
        log.error("job %s: %s; the id is dropped", job_id, error, extra=about)
        await self._store.release(job_id)
