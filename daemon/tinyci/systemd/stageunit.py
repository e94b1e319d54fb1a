"""The unit that runs a stage of a job: started, awaited, and cleared away."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tinyci.model.job import Job
from tinyci.model.stagecontract import Status, Verdict, stage_of, unit_name
from tinyci.systemd.manager import Manager, ManagerDownError, ManagerError, NoSuchUnitError
from tinyci.systemd.managers import Managers
from tinyci.systemd.unit import Unit

STOP_LIMIT = 30.0
"""Seconds that stopping a stage may take, more than TimeoutStopSec= of its unit."""
CLEAR_LIMIT = 150.0
"""Seconds for a stage that must be gone before anything else begins: more than a manager takes to come back."""
_SYSTEMD_STATUSES = range(200, 256)
"""Exit statuses of a process that ended before its program began (systemd.exec(5), "Process Exit Codes")."""


class StageUnit:
    """One unit, in the manager of a user."""

    def __init__(self, stage: str, job: Job, user: str, managers: Managers) -> None:
        self.name = unit_name(stage, job.hex)
        self._user = user
        self._managers = managers

    async def start(self, manager: Manager, condition: Callable[[Unit], bool]) -> Unit:
        """Start the stage, and return its unit once condition() is true of it. Raises ManagerError."""
        try:
            return await manager.start_and_wait_until(self.name, condition)
        except NoSuchUnitError:
            raise ManagerError(
                f"the manager of {self._user} does not know {self.name}: is tinyci installed, and was the manager told "
                "(daemon-reload)?"
            ) from None

    async def run(self) -> Unit:
        """Run a stage of which nothing is in systemd, one that may run twice, and return its unit at the end. Raises
        ManagerError."""
        has_begun = False

        async def start_and_wait(manager: Manager) -> Unit:
            nonlocal has_begun
            if not has_begun or (await manager.unit(self.name)).is_unused:
                has_begun = True
                return await self.start(manager, _is_idle)
            return await manager.wait_until(self.name, _is_idle)

        return await self._managers.ask(self._user, start_and_wait)

    async def stop(self) -> None:
        """Stop the stage, as far as STOP_LIMIT allows; clear() tries once more."""
        await self._try_in_time(_stop)

    async def clear(self) -> bool:
        """Leave nothing of the unit in systemd. Return False when STOP_LIMIT is over before.

        A manager that cannot be reached may still have the unit, behind a gate that is down for example. A manager that
        does not run has nothing.
        """
        return await self._try_in_time(_clear)

    async def clear_or_raise(self) -> None:
        """Leave nothing of the unit in systemd. Raises ManagerError, also when CLEAR_LIMIT is over before."""
        try:
            async with asyncio.timeout(CLEAR_LIMIT):
                await self._managers.ask(self._user, lambda manager: _clear(manager, self.name))
        except TimeoutError:
            raise ManagerError(f"the manager of {self._user} does not stop {self.name}") from None

    async def _try_in_time(self, action: Callable[[Manager, str], Awaitable[None]]) -> bool:
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await self._managers.ask(self._user, lambda manager: action(manager, self.name))
        except ManagerDownError:
            return True
        except (ManagerError, TimeoutError):
            return False
        return True


def _is_idle(unit: Unit) -> bool:
    return unit.is_idle


async def _stop(manager: Manager, name: str) -> None:
    with suppress(NoSuchUnitError):  # a look at it before would load it three times, if it is not loaded
        await manager.stop(name)


async def _clear(manager: Manager, name: str) -> None:
    await _stop(manager, name)
    await manager.reset_failed(name)


def verdict_sentence(unit: Unit, verdict: Verdict) -> str:
    """Return the sentence of a stage's Status if its verdict is that one, else an empty text."""
    status = Status.parse(unit.status_text)
    return status.sentence if status.verdict == verdict else ""


def failure_reason(unit: Unit) -> str:
    """Return one sentence on the failure of a stage that has ended, or an empty text when it succeeded."""
    if unit.active_state == "active":
        return ""
    for verdict in (Verdict.REJECTED, Verdict.FAILED, Verdict.NOTHING):
        if sentence := verdict_sentence(unit, verdict):
            return sentence
    stage = stage_of(unit.name)
    if unit.has_start_timed_out:
        return f"the {stage} was stopped by TimeoutStartSec= of {unit.name}: 'tinyci doctor' says how to raise it"
    if unit.result == "timeout":
        return f"{unit.name} was stopped by somebody, and did not end within its TimeoutStopSec="
    if unit.result == "oom-kill":
        return f"the {stage} ran out of memory (MemoryMax= of {unit.name} or the host's)"
    if unit.active_state == "inactive":
        return f"{unit.name} was stopped by somebody"
    if unit.exit_code == 1 and unit.exit_status in _SYSTEMD_STATUSES:  # a stage of ours has said why it ends
        return (
            f"systemd could not start the {stage} (status {unit.exit_status}, see systemd.exec(5)): is the home of its "
            "user writable, and tinyci installed?"
        )
    return f"the {stage} ended with {unit.result}, status {unit.exit_status}"
