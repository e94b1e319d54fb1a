"""The record of a job on its way: the job, its hash in Redis, and every change of the two."""

from collections.abc import Mapping
from contextlib import suppress

from tinyci.daemon.listener import Listener
from tinyci.daemon.outcome import AlreadyEndedError
from tinyci.model.job import Job
from tinyci.model.state import State, check_transition
from tinyci.store.writer import StoreError, StoreWriter


class JobRecord:
    """One job, and the only way to change it."""

    def __init__(self, job: Job, store: StoreWriter, listener: Listener) -> None:
        self.job = job
        self._store = store
        self._listener = listener

    async def write(self, fields: Mapping[str, str]) -> None:
        """Write fields of the hash. Raises AlreadyEndedError."""
        self.job = self.job.with_fields(fields)  # before the write: a question meanwhile is answered with what will be
        if not await self._store.update(self.job.id, fields):
            raise AlreadyEndedError
        changes = fields
        if self._listener.lacks_fields(self.job.id):
            with suppress(StoreError):
                changes = {**await self._store.job(self.job.id), **fields}
        self._listener.job_changed(self.job.id, self.job.repo, changes)

    async def enter(self, state: State, fields: Mapping[str, str]) -> None:
        """Enter a state, and write fields with it. Raises AlreadyEndedError."""
        check_transition(self.job.state, state)
        await self.write({"state": state, **fields})
