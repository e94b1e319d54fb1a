"""The end of jobs without a deploy: rejected, superseded, cancelled before they began, or stopped by a defect."""

import logging
from typing import NamedTuple

from tinyci import catalog
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.jobtable import JobTable
from tinyci.daemon.listener import Listener
from tinyci.log import fields
from tinyci.model.job import Job
from tinyci.model.state import State
from tinyci.store.writer import StoreError, StoreWriter

log = logging.getLogger(__name__)


class JobEnd(NamedTuple):
    """The end of a job that never begins."""

    job: Job
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

    async def end(self, job_id: str, repo: str, state: State, reason: str) -> None:
        """End a job that has nothing in systemd."""
        self._table.ending.add(job_id)  # a sweep would find it accepted, still queued, and queue it behind newer ones
        try:
            await self.write_end(job_id, repo, state, reason)
            await self._store.release(job_id)
        finally:
            self._table.ending.discard(job_id)
        self.end_count += 1

    async def write_end(self, job_id: str, repo: str, state: State, reason: str) -> None:
        """Write a final state, unless the hash has one."""
        end = {"state": state, "success": "false", "reason": reason, "output": "", "finished": self._host.now()}
        try:
            if await self._store.update(job_id, end):
                self._listener.job_changed(job_id, repo, end)
        except StoreError as error:
            about = fields(job=job_id, repo=repo, message_id=catalog.WRONG_HASH)
            log.error("job %s: %s", job_id, error, extra=about)

    async def drop(self, job_id: str, error: StoreError) -> None:
        """Drop an id whose key holds no job."""
        about = fields(job=job_id, message_id=catalog.WRONG_HASH)
        log.error("job %s: %s; the id is dropped", job_id, error, extra=about)
        await self._store.release(job_id)
