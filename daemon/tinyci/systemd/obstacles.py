"""Obstacles to the restart of a repo's units, found before anything is restarted."""

import asyncio
import re
from collections.abc import Iterable

from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.systemd.manager import Manager, ManagerError
from tinyci.systemd.managers import Managers
from tinyci.systemd.unit import Unit
from tinyci.systemd.unitend import cause_of

_REQUIREMENTS_MAX = 200
"""Units that are looked at, of those that a unit requires."""
_SURE = (".target", ".slice")
"""Kinds of units that do nothing which could fail; each service requires some."""
_PODMAN = re.compile(r"(?:^|[\s/;&|(])podman(?:\s|$)")
_ROOTS = ("", "root", "0")


class ObstacleError(Exception):
    """A restart that cannot end well; the text is the reason."""

    def __init__(self, reason: str, unit: str = "") -> None:
        """`unit`: the one whose last lines tell more, if any."""
        super().__init__(reason)
        self.unit = unit


async def check(repo: Repo, managers: Managers) -> None:
    """Raise ObstacleError for a unit that cannot be restarted, ManagerError when the manager does not answer."""
    try:
        async with asyncio.timeout(repo.restart_timeout):
            await _check(repo, managers)
    except TimeoutError:
        limit = timespan.show(repo.restart_timeout)
        raise ManagerError(
            f"the service manager of {repo.user} did not say within {limit} (restart_timeout) whether "
            f"{', '.join(repo.units)} can be restarted: nothing is restarted"
        ) from None


async def _check(repo: Repo, managers: Managers) -> None:
    units = [await managers.ask(repo.user, lambda manager, name=name: manager.unit(name)) for name in repo.units]  # type: ignore[misc]
    for unit in units:
        if not unit.is_loaded:
            system_unit = None if repo.is_root else await _system_unit(managers, unit.name)
            raise ObstacleError(_missing(repo, unit, system_unit))
        if sentence := _unfit(repo, unit):
            raise ObstacleError(sentence)
    for unit in units:
        names = [name for name in unit.requirements if name not in repo.units and not name.endswith(_SURE)]
        for name in names[:_REQUIREMENTS_MAX]:
            await managers.ask(repo.user, lambda manager, unit=unit, name=name: _meet(manager, repo, unit, name))  # type: ignore[misc]


async def _system_unit(managers: Managers, name: str) -> Unit | None:
    """Return the unit of that name in the system's manager, if it has one."""
    try:
        unit = await managers.ask("root", lambda manager: manager.unit(name))
    except ManagerError:
        return None
    return unit if unit.is_loaded else None


def _missing(repo: Repo, unit: Unit, system_unit: Unit | None) -> str:
    if system_unit:
        return of_the_systems(unit.name, repo.user, system_unit.user)
    return (
        f"the manager of {repo.user} has no unit {unit.name} ({unit.load_state}): "
        "correct 'units' in the repo's file, or install the unit and daemon-reload"
    )


def _unfit(repo: Repo, unit: Unit) -> str:
    if unit.needs_reload:
        return (
            f"{unit.name} has changed on disk since its manager read it, and would be restarted as it was before: "
            f"{command(repo.user)} daemon-reload, then 'tinyci retry {repo.name}'"
        )
    if repo.is_root and runs_podman_as_user(unit.user, unit.command_words):
        return without_images(unit.name, unit.user)
    return ""


def of_the_systems(name: str, user: str, runs_as: str) -> str:
    """Say that a unit of a user's repo is one of the system's. `runs_as`: its User=, or empty."""
    as_whom = f", with User={runs_as}" if runs_as else ""
    return (
        f"{name} is a unit of the system's manager{as_whom}, and a repo of {user} restarts units of {user}'s own "
        f"manager: install it there, say as a Quadlet of {user}'s, and disable the system's"
    )


def without_images(name: str, runs_as: str) -> str:
    """Say that a unit of root's repo runs containers of somebody else's."""
    return (
        f"{name} runs podman as {runs_as} (User=), who does not have the images that root builds: give the repo "
        f'user = "{runs_as}" and install the unit in {runs_as}\'s own manager, without User='
    )


def runs_podman_as_user(user: str, words: Iterable[str]) -> bool:
    """True for a unit of the system's whose podman is that of another user than root, with images of its own."""
    return user not in _ROOTS and any(_PODMAN.search(word) for word in words)


def command(user: str) -> str:
    """Return the command line that asks the manager of a user."""
    return "systemctl" if user == "root" else f"systemctl --user -M {user}@"


async def _meet(manager: Manager, repo: Repo, unit: Unit, name: str) -> None:
    """Have a unit that is required up, while the unit that requires it still runs. Raises ObstacleError.

    systemd would start one that failed with that restart; when it fails again, nothing runs any more.
    """
    requirement = await manager.unit(name)
    if name.endswith((".service", ".socket")) and not requirement.is_loaded:
        raise ObstacleError(
            f"{unit.name} requires {name}, which its manager cannot start ({requirement.load_state}): install it, or "
            "take it out of Requires=; nothing was restarted"
        )
    if requirement.active_state != "failed":
        return
    cause = cause_of(requirement)
    try:
        await manager.wait_for_job(name, await manager.start(name))
    except ManagerError:  # polkit lets the daemon start listed units alone; systemd will, with the restart
        return
    requirement = await manager.unit(name)
    if requirement.active_state == "failed":
        failure = requirement_failure(unit.name, requirement, cause)
        raise ObstacleError(f"{failure}; nothing was restarted: {mend(repo, name)}", name)


def requirement_failure(name: str, requirement: Unit, earlier_cause: str = "") -> str:
    """Say of a unit that another one requires why it failed. `earlier_cause`: of a start before the last one."""
    cause = cause_of(requirement) or requirement.result
    if requirement.result == "start-limit-hit" and earlier_cause and earlier_cause != cause:
        cause = f"{cause}; before that, {earlier_cause}"
    return f"{name} requires {requirement.name}, which has failed: {cause}"


def mend(repo: Repo, name: str) -> str:
    """Say what to do about a unit that failed."""
    systemctl = command(repo.user)
    return f"mend it, '{systemctl} reset-failed {name}' and '{systemctl} start {name}', then 'tinyci retry {repo.name}'"
