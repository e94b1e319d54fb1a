"""The leftovers of an ended job in systemd, in /run and in Redis."""

import asyncio
from collections.abc import Iterable

from tinyci.daemon.hostaccess import HostAccess
from tinyci.model.job import Job
from tinyci.model.stagecontract import STAGES
from tinyci.store.writer import StoreWriter
from tinyci.systemd.managers import Managers
from tinyci.systemd.stageunit import StageUnit


async def clear(
    job: Job,
    user: str,
    store: StoreWriter,
    managers: Managers,
    host: HostAccess,
    stages: Iterable[str] = STAGES,
) -> bool:
    """Clear away all that an ended job left in systemd, in /run and in `tinyci:accepted`. `user`: of its repo.
    `stages`: those that may have left something.

    Returns False when the manager stays away: the job stays accepted until it is certain that nothing of it runs.
    """
    if job.attempt:
        async with asyncio.TaskGroup() as group:  # in parallel, so that a manager that is away is waited for once
            clearings = [group.create_task(StageUnit(stage, job, user, managers).clear()) for stage in stages]
        if not all(clearing.result() for clearing in clearings):
            return False
    host.job_file(job).unlink(missing_ok=True)
    await store.release(job.id)
    return True


async def stop_stages(job: Job, user: str, managers: Managers) -> None:
    """Stop the stages of a job, however long their manager stays away: two deploys of a repo never run at the same
    time, also when the one before was abandoned. Raises ManagerError."""
    for stage in STAGES:
        await StageUnit(stage, job, user, managers).clear_or_raise()
