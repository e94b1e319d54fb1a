"""The units of a repo while it is deployed: restarted, watched, and with them those that depend on them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.systemd.manager import Manager, ManagerError, Unit
from tinyci.systemd.managers import Managers

_REST = 5.0
"""Seconds that a unit which fell may take to come to rest."""


class UnitDownError(Exception):
    """A unit is not up that should be; the text is the reason."""

    def __init__(self, unit: str, reason: str) -> None:
        super().__init__(reason)
        self.unit = unit


class RestartedByOthersError(Exception):
    """Somebody restarted a unit while it was watched, and it is up: what was seen of it counts no more."""


class AppUnits:
    """Those of one repo. All methods raise Down, and ManagerError when the manager cannot be asked."""

    def __init__(self, repo: Repo, managers: Managers) -> None:
        self._repo = repo
        self._managers = managers

    async def active_dependents(self) -> list[str]:
        """Units outside the repo's own that are active and that a restart of one of these may stop."""
        found: dict[str, bool] = {}
        names = list(self._repo.units)
        while names:
            name = names.pop()
            unit = await self._unit(name)
            found[name] = unit.active_state == "active" and name not in self._repo.units
            names += [each for each in unit.dependents if each not in found]
        return sorted(name for name, is_one in found.items() if is_one)

    async def restart(self, name: str, before: str | None, issued: Callable[[str], Awaitable[None]]) -> None:
        """Restart a unit and await the end of that. A restart that was issued already is looked at, not issued again.

        `before`: the InvocationID that the unit had when it was issued; None when it was not. `issued` is told it
        right before.
        """

        async def restart(manager: Manager) -> str:
            nonlocal before
            unit = await manager.unit(name)
            if not unit.is_loaded:
                raise UnitDownError(
                    name,
                    f"the manager of {self._repo.user} has no unit {name} ({unit.load_state}): "
                    "correct 'units' in the repo's file, or install the unit and daemon-reload",
                )
            if before is not None:
                if unit.job != "/":
                    return await manager.wait_for_job(name, unit.job)
                if unit.invocation_id and unit.invocation_id != before:
                    return "done" if unit.active_state == "active" else unit.active_state
            before = unit.invocation_id
            await issued(before)
            await manager.reset_failed(name)  # quick pushes must not run into StartLimitBurst=
            return await manager.wait_for_job(name, await manager.restart(name))

        try:
            async with asyncio.timeout(self._repo.restart_timeout):
                result = await self._managers.ask(self._repo.user, restart)
        except TimeoutError:
            limit = timespan.show(self._repo.restart_timeout)
            raise UnitDownError(name, f"the restart of {name} did not end within {limit} (restart_timeout)") from None
        if result != "done":
            unit = await self._unit(name)
            how = f"{result}, {unit.result}" if unit.result not in ("", "success", result) else result
            raise UnitDownError(name, f"the restart of {name} ended with {how}")

    async def start_dependent(self, name: str) -> None:
        """Have a dependent unit up again that was active before. systemd restarts it with what it depends on, unless
        the restart of that failed in between."""
        unit = await self.wait_idle(name)
        if unit.active_state != "active":

            async def nothing(_: str) -> None:
                """No note: it is started only when it is not up, so twice is once."""

            await self.restart(name, None, nothing)

    async def watch(self, name: str, first: str) -> None:
        """Watch a unit that is up until cancelled: it stays active, the same invocation, not restarted by itself."""
        while True:
            unit = await self._managers.ask(
                self._repo.user, lambda manager: manager.wait_until(name, lambda seen: not _is_up(seen, first))
            )
            await self._judge(unit, first)

    async def invocation(self, name: str) -> str:
        """The InvocationID of a unit that is up, now or when what is being done to it is done: right after a reboot
        it may still be starting."""
        unit = await self.wait_idle(name)
        if not _is_up(unit, unit.invocation_id):
            raise await self._fallen(unit)
        return unit.invocation_id

    async def check(self, name: str, first: str) -> None:
        """A last look at a unit that was watched."""
        unit = await self._managers.ask(self._repo.user, lambda manager: manager.wait_until(name, lambda _: True))
        await self._judge(unit, first)

    async def _judge(self, unit: Unit, first: str) -> None:
        """Raise what is to be said of a watched unit that is not as it was."""
        if unit.job != "/":  # a person, or podman auto-update, restarts or stops it
            unit = await self.wait_idle(unit.name)
        if _is_up(unit, first):
            return
        if _is_up(unit, unit.invocation_id):
            raise RestartedByOthersError(f"{unit.name} was restarted again while it was watched")
        raise await self._fallen(unit)

    async def _fallen(self, unit: Unit) -> UnitDownError:
        """What to say of a unit that is not up, when it has come to rest: until then its state is a passing one."""
        with suppress(TimeoutError, ManagerError):
            async with asyncio.timeout(_REST):
                unit = await self._managers.ask(
                    self._repo.user,
                    lambda manager: manager.wait_until(unit.name, lambda unit: unit.active_state != "deactivating"),
                )
        how = f"{unit.active_state} ({unit.sub_state})"
        if unit.result not in ("", "success"):
            how += f", {unit.result}"
        if unit.exit_code:
            how += f", status {unit.exit_status}"
        if unit.restarts:
            how += f", restarted {unit.restarts} times by itself"
        return UnitDownError(unit.name, f"{unit.name} did not stay up after its restart: it is {how}")

    async def _unit(self, name: str) -> Unit:
        return await self._managers.ask(self._repo.user, lambda manager: manager.unit(name))

    async def wait_idle(self, name: str) -> Unit:
        """The unit when whatever is being done to it is done."""
        try:
            async with asyncio.timeout(self._repo.restart_timeout):
                return await self._managers.ask(
                    self._repo.user, lambda manager: manager.wait_until(name, lambda unit: unit.is_over)
                )
        except TimeoutError:
            limit = timespan.show(self._repo.restart_timeout)
            raise UnitDownError(name, f"{name} did not come up within {limit} (restart_timeout)") from None


def _is_up(unit: Unit, invocation: str) -> bool:
    return (unit.active_state, unit.invocation_id, unit.restarts) == ("active", invocation, 0)
