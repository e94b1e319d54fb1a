"""A job on its way, as its hash has it: every change is made here, and told."""

from collections.abc import Callable, Mapping

from tinyci.daemon.outcome import AlreadyEndedError
from tinyci.model.job import Job
from tinyci.model.state import State, check_transition
from tinyci.store.writer import StoreWriter

OnChange = Callable[[str, str, Mapping[str, str]], None]
"""Takes fields of a job that were written: its id, its repo's name, the fields."""


class JobRecord:
    """One job, and the only way to change it."""

    def __init__(self, job: Job, store: StoreWriter, on_change: OnChange) -> None:
        self.job = job
        self._store = store
        self._on_change = on_change

    async def write(self, fields: Mapping[str, str]) -> None:
        """Write fields of the hash. Raises AlreadyEndedError."""
        self.job = self.job.with_fields(fields)  # before the write: who asks meanwhile hears what will be
        if not await self._store.update(self.job.id, fields):
            raise AlreadyEndedError
        self._on_change(self.job.id, self.job.repo, fields)

    async def enter(self, state: State, fields: Mapping[str, str]) -> None:
        """Enter a state, with fields that belong to that. Raises AlreadyEndedError."""
        check_transition(self.job.state, state)
        await self.write({"state": state, **fields})
