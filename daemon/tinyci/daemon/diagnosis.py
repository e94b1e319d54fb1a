"""What only the daemon sees of what its deploys stand on: its own Redis, journal, polkit, gates and configuration.

Open to everyone, so a sentence says no more than the reason of a job would, and asking often costs little.
"""

import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple

from tinyci.api import polkit
from tinyci.api.requests import RequestError
from tinyci.daemon.dispatch import Dispatch
from tinyci.dbus.bus import Bus, BusError, BusGoneError
from tinyci.model.repo import Repo
from tinyci.model.repos import Repos
from tinyci.model.settings import SPOOL, Settings
from tinyci.model.stagecontract import PROBES
from tinyci.model.toml import ConfigError
from tinyci.store.writer import StoreWriter
from tinyci.systemd import journal
from tinyci.systemd.journal import JournalError
from tinyci.systemd.manager import Manager, ManagerError
from tinyci.systemd.managers import Managers
from tinyci.systemd.unit import Unit

PATIENCE = 5.0
"""Seconds that each of them has to answer."""
PAUSE = 0.1
"""Seconds between the beginnings of two examinations of the same."""


class Check(NamedTuple):
    """One check, whether it holds, and what is so."""

    check: str
    holds: bool
    sentence: str


class Diagnosis:
    """`read` gives what the files say now."""

    def __init__(self, store: StoreWriter, dispatch: Dispatch, read: Callable[[], tuple[Settings, Repos]]) -> None:
        self._store = store
        self._dispatch = dispatch
        self._read = read
        self._locks: dict[str, asyncio.Lock] = {}
        self._made: dict[str, tuple[float, list[Check]]] = {}

    async def of(self, repo: str, bus: Bus | None) -> list[Check]:
        """Of what all deploys need, and of one repo besides when it is named. Raises RequestError.

        However many ask, one at a time is made of each, so that a manager that hangs holds up no other's.
        """
        repos = self._dispatch.repos
        if repo and repo not in repos.by_name and repo not in repos.errors:
            raise RequestError("NoSuchRepo", repos.missing_reason(repo))
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._locks.setdefault(repo, asyncio.Lock()):
            began, rows = self._made.get(repo, (-PAUSE, []))
            if began < asked:  # else it began while we waited, and saw what was so when we asked
                await asyncio.sleep(began + PAUSE - loop.time())
                began = loop.time()
                rows = await self._repo(repo) if repo else await self._host(bus)
                self._made[repo] = (began, rows)
            return rows

    async def _host(self, bus: Bus | None) -> list[Check]:
        return [
            await self._redis(),
            await asyncio.to_thread(_journal),
            await _polkit(bus),
            self._spool(),
            self._configuration(),
        ]

    async def _redis(self) -> Check:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._store.ping()
        except TimeoutError:
            return Check("daemon-redis", False, "Redis does not answer the daemon: pushes are kept in the spool")
        return Check("daemon-redis", True, "Redis answers the daemon")

    def _spool(self) -> Check:
        # Made anew while the daemon runs, it is outside of what the unit's ReadWritePaths= lets it write.
        if not os.access(SPOOL, os.R_OK | os.W_OK | os.X_OK):
            return Check("daemon-spool", False, f"the daemon cannot take in what is kept in {SPOOL}")
        return Check("daemon-spool", True, "the daemon can take in what is kept in the spool")

    def _configuration(self) -> Check:
        check = "daemon-configuration"
        try:
            config, repos = self._read()
        except (ConfigError, OSError) as error:
            return Check(check, False, f"the daemon goes by an earlier configuration: {error}")
        if (config, repos) != (self._dispatch.settings, self._dispatch.repos):
            return Check(check, False, "the files in /etc/tinyci have changed since the daemon read them")
        return Check(check, True, "the daemon goes by what stands in /etc/tinyci")

    async def _repo(self, name: str) -> list[Check]:
        repo = self._dispatch.repos.by_name.get(name)
        if repo is None:
            return [
                Check("daemon-configuration", False, f"the repo's file is wrong: {self._dispatch.repos.errors[name]}")
            ]
        managers = Managers(PATIENCE)
        try:
            async with asyncio.timeout(3 * PATIENCE):
                units = await managers.ask(repo.user, lambda manager: _units(manager, repo))
        except (ManagerError, TimeoutError) as error:
            said = str(error) or f"the manager of {repo.user} does not answer"
            return [Check("daemon-manager", False, said)]
        finally:
            await managers.close()
        reached = Check("daemon-manager", True, f"the daemon reaches the manager of {repo.user}")
        return [reached, *_wrong_units(repo.user, units)]


async def _units(manager: Manager, repo: Repo) -> list[Unit]:
    return [await manager.unit(name) for name in (*PROBES, *repo.units)]


def _wrong_units(user: str, units: list[Unit]) -> list[Check]:
    return [
        Check("daemon-unit", False, f"the manager of {user} cannot run {unit.name}: it is {unit.load_state}")
        for unit in units
        if not unit.is_loaded
    ] or [Check("daemon-unit", True, f"the manager of {user} can run all units that a deploy needs")]


def _journal() -> Check:
    try:
        journal.check_readable()
    except JournalError as error:
        return Check("daemon-journal", False, f"{error}; jobs have no output")
    return Check("daemon-journal", True, "the daemon can read the journal")


async def _polkit(bus: Bus | None) -> Check:
    try:
        if bus is None:
            raise BusGoneError("no connection")
        await polkit.probe(bus)
    except (BusError, BusGoneError) as error:
        return Check(
            "daemon-polkit", False, f"polkit does not answer the daemon, so nobody may cancel or retry: {error}"
        )
    return Check("daemon-polkit", True, "polkit answers the daemon")
