"""The checks that only the daemon can make: its own Redis, journal, polkit, managers and configuration.

Open to everyone, so a sentence says no more than the reason of a job would, and many requests cost little.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from tinyci.api import polkit
from tinyci.api.checks import Check
from tinyci.api.requests import RequestError
from tinyci.daemon.dispatch import Dispatch
from tinyci.dbus.bus import Bus, BusError, BusGoneError
from tinyci.model.places import SPOOL
from tinyci.model.repo import Repo
from tinyci.model.repos import Repos
from tinyci.model.stagecontract import PROBES
from tinyci.model.toml import ConfigError
from tinyci.runtime.service import load_settings
from tinyci.store.writer import StoreWriter
from tinyci.systemd import journal
from tinyci.systemd.journal import JournalError
from tinyci.systemd.manager import Manager, ManagerError
from tinyci.systemd.managers import Managers
from tinyci.systemd.unit import Unit

PATIENCE = 5.0
"""Seconds that each party has to answer."""
PAUSE = 0.5
"""Seconds between the begins of two examinations of the same repo, each of which costs as much as some steps of a
deploy."""


class Diagnosis:
    """Makes the checks. `etc`: the directory of the configuration."""

    def __init__(self, store: StoreWriter, dispatch: Dispatch, etc: Path) -> None:
        self._store = store
        self._dispatch = dispatch
        self._etc = etc
        self._locks: dict[str, asyncio.Lock] = {}
        """One for each repo, since a manager that hangs must not delay the others; the empty name is the host's."""
        self._results: dict[str, tuple[float, list[Check]]] = {}
        """By repo: the time at which the last examination began, and its checks."""

    async def examine(self, repo: str, bus: Bus | None) -> Sequence[Check]:
        """Check what all deploys need, or with a name what that repo's deploys need. Raises RequestError.

        However many ask, one examination of each runs at a time, and they share it.
        """
        repos = self._dispatch.repos
        if repo and repo not in repos.by_name and repo not in repos.errors:
            raise RequestError("NoSuchRepo", repos.missing_reason(repo))
        loop = asyncio.get_running_loop()
        request_time = loop.time()
        async with self._locks.setdefault(repo, asyncio.Lock()):
            begin, checks = self._results.get(repo, (-PAUSE, []))
            if begin < request_time:  # else it began after the request, and is new enough
                await asyncio.sleep(begin + PAUSE - loop.time())
                begin = loop.time()
                checks = await self._check_repo(repo) if repo else await self._check_host(bus)
                self._results[repo] = (begin, checks)
            return checks

    async def _check_host(self, bus: Bus | None) -> list[Check]:
        return [
            await self._check_redis(),
            await asyncio.to_thread(_check_journal),
            await _check_polkit(bus),
            self._check_spool(),
            self._check_configuration(),
        ]

    async def _check_redis(self) -> Check:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._store.ping()
        except TimeoutError:
            return Check.failure("daemon-redis", "Redis does not answer the daemon: pushes are kept in the spool")
        return Check.success("daemon-redis", "Redis answers the daemon")

    def _check_spool(self) -> Check:
        # A directory that was made anew while the daemon runs is not in the unit's ReadWritePaths= any more.
        if not os.access(SPOOL, os.R_OK | os.W_OK | os.X_OK):
            return Check.failure("daemon-spool", f"the daemon cannot take in what is kept in {SPOOL}")
        return Check.success("daemon-spool", "the daemon can take in what is kept in the spool")

    def _check_configuration(self) -> Check:
        name = "daemon-configuration"
        try:
            settings, repos = load_settings(self._etc), Repos.read(f"{self._etc}/repos.d")
        except (ConfigError, OSError) as error:
            return Check.failure(name, f"the daemon goes by an earlier configuration: {error}")
        if (settings, repos) != (self._dispatch.settings, self._dispatch.repos):
            return Check.failure(name, "the files in /etc/tinyci have changed since the daemon read them")
        return Check.success(name, "the daemon goes by what stands in /etc/tinyci")

    async def _check_repo(self, name: str) -> list[Check]:
        repo = self._dispatch.repos.by_name.get(name)
        if repo is None:
            return [
                Check.failure("daemon-configuration", f"the repo's file is wrong: {self._dispatch.repos.errors[name]}")
            ]
        managers = Managers(PATIENCE)
        try:
            async with asyncio.timeout(3 * PATIENCE):
                units = await managers.ask(repo.user, lambda manager: _read_units(manager, repo))
        except (ManagerError, TimeoutError) as error:
            sentence = str(error) or f"the manager of {repo.user} does not answer"
            return [Check.failure("daemon-manager", sentence)]
        finally:
            await managers.close()
        manager_check = Check.success("daemon-manager", f"the daemon reaches the manager of {repo.user}")
        return [manager_check, *_unit_checks(repo.user, units)]


async def _read_units(manager: Manager, repo: Repo) -> list[Unit]:
    return [await manager.unit(name) for name in (*PROBES, *repo.units)]


def _unit_checks(user: str, units: list[Unit]) -> list[Check]:
    failures = [
        Check.failure("daemon-unit", f"the manager of {user} cannot run {unit.name}: it is {unit.load_state}")
        for unit in units
        if not unit.is_loaded
    ]
    return failures or [Check.success("daemon-unit", f"the manager of {user} can run all units that a deploy needs")]


def _check_journal() -> Check:
    try:
        journal.check_readable()
    except JournalError as error:
        return Check.failure("daemon-journal", f"{error}; jobs have no output")
    return Check.success("daemon-journal", "the daemon can read the journal")


async def _check_polkit(bus: Bus | None) -> Check:
    try:
        if bus is None:
            raise BusGoneError("no connection")
        await polkit.probe(bus)
    except (BusError, BusGoneError) as error:
        return Check.failure(
            "daemon-polkit", f"polkit does not answer the daemon, so nobody may cancel or retry: {error}"
        )
    return Check.success("daemon-polkit", "polkit answers the daemon")
