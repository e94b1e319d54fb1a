"""A stage of a job as systemd has it: a unit that is started, awaited, and cleared away."""

import asyncio
from collections.abc import Awaitable, Callable

from tinyci.model.job import Job
from tinyci.model.stagecontract import Status, Verdict, stage_of, unit_name
from tinyci.systemd.manager import Manager, ManagerDownError, ManagerError, Unit
from tinyci.systemd.managers import Managers

STOP_LIMIT = 30.0
"""Seconds that stopping a stage may take, more than TimeoutStopSec= of its unit."""


class StageUnit:
    """One unit, in the manager of that user."""

    def __init__(self, stage: str, job: Job, user: str, managers: Managers) -> None:
        self.name = unit_name(stage, job.hex)
        self._user = user
        self._managers = managers

    async def run(self) -> Unit:
        """Run it anew and return it when it is over; for stages that may run twice. Raises ManagerError."""
        await self.clear()

        async def once(manager: Manager) -> Unit:
            unit = await manager.unit(self.name)
            if not unit.is_loaded:
                raise missing_template(self._user, self.name)
            if unit.is_unknown:
                await manager.start(self.name)
            return await manager.wait_until(self.name, lambda unit: unit.is_over)

        return await self._managers.ask(self._user, once)

    async def stop(self) -> None:
        """Stop it, as far as that can be done in time; clear() sees to it once more."""
        await self._in_time(_stop)

    async def clear(self) -> bool:
        """Leave nothing of it in systemd. False when that could not be done in time: a manager that stays away may
        have it still, as it has behind a gate that is down. One that does not run has nothing."""
        return await self._in_time(_clear)

    async def clear_or_raise(self) -> None:
        """Leave nothing of it in systemd, however long its manager stays away. Raises ManagerError."""
        await self._managers.ask(self._user, lambda manager: _clear(manager, self.name))

    async def _in_time(self, do: Callable[[Manager, str], Awaitable[None]]) -> bool:
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await self._managers.ask(self._user, lambda manager: do(manager, self.name))
        except ManagerDownError:
            return True
        except (ManagerError, TimeoutError):
            return False
        return True


async def _stop(manager: Manager, name: str) -> None:
    unit = await manager.unit(name)
    if not unit.is_over or unit.active_state == "active":
        await manager.wait_for_job(name, await manager.stop(name))


async def _clear(manager: Manager, name: str) -> None:
    await _stop(manager, name)
    await manager.reset_failed(name)


def verdict(unit: Unit, word: Verdict) -> str:
    """The sentence of a stage's Status when its verdict is that one, or empty."""
    status = Status.parse(unit.status_text)
    return status.sentence if status.verdict == word else ""


def trouble(unit: Unit) -> str:
    """Why a stage that is over did not succeed, in one sentence; empty when it did."""
    if unit.active_state == "active":
        return ""
    for word in (Verdict.REJECTED, Verdict.FAILED, Verdict.NOTHING):
        if sentence := verdict(unit, word):
            return sentence
    stage = stage_of(unit.name)
    if unit.result == "timeout":
        return f"the {stage} was stopped by TimeoutStartSec= of {unit.name}"
    if unit.result == "oom-kill":
        return f"the {stage} ran out of memory (MemoryMax= of {unit.name} or the host's)"
    if unit.active_state == "inactive":
        return f"{unit.name} was stopped by somebody"
    return f"the {stage} ended with {unit.result}, status {unit.exit_status}"


def missing_template(user: str, name: str) -> ManagerError:
    """The manager does not know the template of a stage."""
    return ManagerError(
        f"the manager of {user} does not know {name}: is tinyci installed, and was the manager told (daemon-reload)?"
    )
