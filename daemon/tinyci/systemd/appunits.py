"""The units of a repo in a deploy: restart and watch them, and start what depends on them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.systemd import obstacles, unitend
from tinyci.systemd.manager import Manager, ManagerError
from tinyci.systemd.managers import Managers
from tinyci.systemd.unit import Unit

_GOING_DOWN = 5.0
"""Seconds that a unit which goes down may take to be down."""


_ISSUES = 2
"""Restarts in a row of a unit. One that meets systemd's own restart of the unit (Restart=), just due, is merged with
that, and leaves a unit that seems to have fallen since (NRestarts). The next one finds a unit that is up."""
_DEPENDENTS_MAX = 200
"""Units that may depend on those of a repo, directly or not."""
_DEPENDENTS_LIMIT = 60.0
"""Seconds that a manager has to name them."""


class UnitDownError(Exception):
    """A unit of the repo is not up; the text is the reason."""

    def __init__(self, unit: str, reason: str) -> None:
        super().__init__(reason)
        self.unit = unit


class RestartedByOthersError(Exception):
    """Somebody restarted a unit while it was watched, and it is up: watching it must begin anew."""


class AppUnits:
    """The units of one repo. All methods raise UnitDownError, and ManagerError when the manager does not answer."""

    def __init__(self, repo: Repo, managers: Managers) -> None:
        self._repo = repo
        self._managers = managers

    async def active_dependents(self) -> list[str]:
        """Return the active units outside the repo that a restart of the repo's units may stop. Raises ManagerError
        also when they are more than can be true, or the manager takes too long to name them."""
        units, user = ", ".join(self._repo.units), self._repo.user
        try:
            async with asyncio.timeout(_DEPENDENTS_LIMIT):
                names = await self._dependents()
        except TimeoutError:
            limit = timespan.show(_DEPENDENTS_LIMIT)
            raise ManagerError(
                f"the service manager of {user} did not say within {limit} what depends on {units}: "
                "nothing is restarted"
            ) from None
        if names is None:
            raise ManagerError(
                f"the service manager of {user} says that more than {_DEPENDENTS_MAX} units depend on {units}: "
                "nothing is restarted"
            )
        return names

    async def _dependents(self) -> list[str] | None:
        """Return the active dependents; None when there are too many units."""
        is_dependent: dict[str, bool] = {}
        names = set(self._repo.units)
        while names:
            if len(is_dependent) + len(names) > len(self._repo.units) + _DEPENDENTS_MAX:
                return None
            name = names.pop()
            unit = await self._unit(name)
            is_dependent[name] = unit.is_up and name not in self._repo.units
            names |= set(unit.dependents) - set(is_dependent)
        return sorted(name for name in is_dependent if is_dependent[name])

    async def restart(self, name: str, before: str | None, on_issue: Callable[[str], Awaitable[None]]) -> None:
        """Restart a unit and await the end of that. A restart that was issued already is awaited, not issued again.

        `before` is the InvocationID that the unit had before a restart that was issued already, else None. Right
        before it issues one, it calls on_issue() with that InvocationID.
        """

        async def issue_or_await(manager: Manager) -> str:
            nonlocal before
            unit = await manager.unit(name)
            if not unit.is_loaded:
                raise UnitDownError(name, f"the manager of {self._repo.user} has no unit {name} ({unit.load_state})")
            if before is not None:
                if unit.has_job:
                    return await manager.wait_for_job(name, unit.job)
                if unit.invocation_id and unit.invocation_id != before and not unit.restarts:
                    return "done" if unit.is_up or unit.has_ended_well else unit.active_state
            result = ""
            for _ in range(_ISSUES):
                before = unit.invocation_id
                await on_issue(before)
                await manager.reset_failed(name)  # quick pushes must not run into StartLimitBurst=
                result = await manager.restart(name)
                unit = await manager.unit(name)
                if result != "done" or not unit.restarts:
                    break
            return result

        try:
            async with asyncio.timeout(self._repo.restart_timeout):
                result = await self._managers.ask(self._repo.user, issue_or_await)
        except TimeoutError:
            limit = timespan.show(self._repo.restart_timeout)
            raise UnitDownError(name, f"the restart of {name} did not end within {limit} (restart_timeout)") from None
        if result == "dependency":
            raise await self._dependency_error(name)
        if result != "done":
            raise UnitDownError(name, unitend.start_failure(await self._unit(name), result))

    async def _dependency_error(self, name: str) -> UnitDownError:
        """Name the unit that failed, and so kept another one from being started."""
        names, seen = list((await self._unit(name)).requirements), {name}
        while names and len(seen) < _DEPENDENTS_MAX:
            required = names.pop(0)
            if required in seen:
                continue
            seen.add(required)
            unit = await self._unit(required)
            if unit.active_state == "failed" or not unit.is_loaded:
                reason = f"{name} did not start: {obstacles.requirement_failure(name, unit)}"
                return UnitDownError(required, f"{reason}; {obstacles.mend(self._repo, required)}")
            names += unit.requirements
        return UnitDownError(name, f"{name} did not start, since a unit that it requires did not")

    async def start_dependent(self, name: str) -> None:
        """Have a dependent unit up again that was active before.

        systemd restarts it with the unit that it depends on, unless the restart of that one failed in between.
        """
        unit = await self.wait_idle(name)
        if not unit.is_up:

            async def write_nothing(_: str) -> None:
                """A second start harms nothing: it is started only when it is not up."""

            await self.restart(name, None, write_nothing)

    async def watch(self, name: str, invocation: str) -> None:
        """Watch until cancelled that a unit stays well: in that invocation, not restarted by itself, and active unless
        it ended by design."""

        def is_down(unit: Unit) -> bool:
            return not _is_well(unit, invocation)

        while True:
            unit = await self._managers.ask(self._repo.user, lambda manager: manager.wait_until(name, is_down))
            await self._raise_if_down(unit, invocation)

    async def invocation(self, name: str) -> str:
        """Return the InvocationID of a unit that is well; empty when systemd has forgotten one that ended by design.
        Right after a reboot, await its start first."""
        unit = await self.wait_idle(name)
        if not _is_well(unit, unit.invocation_id):
            raise await self._down_error(unit)
        return unit.invocation_id

    async def check(self, name: str, invocation: str) -> None:
        """Look once more at a unit that was watched."""
        unit = await self._managers.ask(self._repo.user, lambda manager: manager.wait_until(name, lambda _: True))
        await self._raise_if_down(unit, invocation)

    async def _raise_if_down(self, unit: Unit, invocation: str) -> None:
        """Raise UnitDownError or RestartedByOthersError, unless a watched unit is up in that invocation."""
        if unit.has_job:  # a person, or podman auto-update, restarts or stops it
            unit = await self.wait_idle(unit.name)
        unit = await self._when_down(unit)
        if _is_well(unit, invocation):
            return
        if _is_well(unit, unit.invocation_id):
            raise RestartedByOthersError(f"{unit.name} was restarted again while it was watched")
        raise await self._down_error(unit)

    async def _down_error(self, unit: Unit) -> UnitDownError:
        """Describe a unit that is not up."""
        unit = await self._when_down(unit)
        return UnitDownError(unit.name, unitend.fall(unit))

    async def _when_down(self, unit: Unit) -> Unit:
        """Return a unit that goes down when it is down for good: until then its state is a passing one."""
        if unit.active_state != "deactivating":
            return unit
        with suppress(TimeoutError, ManagerError):
            async with asyncio.timeout(_GOING_DOWN):
                return await self._managers.ask(
                    self._repo.user,
                    lambda manager: manager.wait_until(unit.name, lambda unit: unit.active_state != "deactivating"),
                )
        return unit

    async def _unit(self, name: str) -> Unit:
        return await self._managers.ask(self._repo.user, lambda manager: manager.unit(name))

    async def wait_idle(self, name: str) -> Unit:
        """Return the unit once systemd is not starting, stopping or reloading it any more."""
        try:
            async with asyncio.timeout(self._repo.restart_timeout):
                return await self._managers.ask(
                    self._repo.user,
                    # One that reloads by itself (RELOADING=1 of sd_notify(3)) is up, however long it takes.
                    lambda manager: manager.wait_until(name, lambda unit: unit.is_idle or _is_up_by_itself(unit)),
                )
        except TimeoutError:
            limit = timespan.show(self._repo.restart_timeout)
            raise UnitDownError(name, f"{name} did not come up within {limit} (restart_timeout)") from None


def _is_up_by_itself(unit: Unit) -> bool:
    return unit.is_up and not unit.has_job


def _is_well(unit: Unit, invocation: str) -> bool:
    """True for a unit that is up in that invocation, or that ended by design."""
    if unit.has_ended_well:  # systemd may have forgotten it since; a timer may have run a oneshot once more
        return not unit.restarts and (unit.is_oneshot or unit.invocation_id in (invocation, ""))
    return unit.is_up and (unit.invocation_id, unit.restarts) == (invocation, 0)
