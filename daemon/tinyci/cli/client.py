"""The command line's connection to the daemon: over D-Bus alone, every error as a sentence and an exit status."""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable
from typing import Any

from tinyci.cli import agent
from tinyci.cli.exitstatus import FAILED, NO_DAEMON, REFUSED, UNKNOWN, CommandError
from tinyci.cli.jobnames import ListedJob, find
from tinyci.cli.terminal import safe
from tinyci.dbus import names
from tinyci.dbus.bus import SYSTEM_BUS, TIMEOUT, Bus, BusError, BusGoneError, Variant
from tinyci.dbus.names import JOB, MANAGER, NAME, PATH
from tinyci.model.fields import PROPERTIES

_NO_DAEMON = (names.SERVICE_UNKNOWN, names.NAME_HAS_NO_OWNER)
_OTHER_VERSION = "the daemon does not answer as this command knows it: is it of another version?"
_LOST = (names.NO_REPLY, names.DISCONNECTED, names.SHUTTING_DOWN)
_UNKNOWN = (names.NO_SUCH_JOB, names.NO_SUCH_REPO, names.NO_SUCH_REF)
_PASSWORD = 150.0
"""Seconds for an answer that waits for a password; the daemon gives up before."""
_BUILD_STOP = 60.0
"""Seconds for an answer that waits for a build to stop."""
_AT_ONCE = 32
"""Questions for a property that are open at the same time; the bus allows 128 of a caller."""
LONG_POLL = 40.0
"""Seconds for an answer of which the daemon takes up to 20 to wait."""
_RETURNS = {
    "ListJobs": "a(sssso)",
    "ListRepos": "a(sssasas)",
    "GetJob": "o",
    "ReadOutput": "sass",
    "ReadEvents": "sbaa{ss}",
    "Run": "o",
    "Retry": "o",
    "Rollback": "o",
    "RollbackTo": "o",
    "Cancel": "",
    "Pause": "",
    "Resume": "",
    "Get": "v",
    "GetAll": "a{sv}",
}
"""By method: the signature of its answer (org.tinyci1(5))."""
_PROPERTIES = {
    **{field.property_name: field.signature for field in PROPERTIES},
    **{"Id": "s", "Version": "s", "Queued": "u", "Running": "u", "Paused": "b", "Repos": "as"},
}
"""By property: its signature."""
RETRY_DELAY = 0.5
"""Seconds between tries: neither a daemon that is away nor a bus that is says when it is back."""


class Client:
    """One connection to the system bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._places = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    async def connect(cls) -> "Client":
        # As for every program of the system bus; dbus-daemon adds its own id to what it prints.
        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS).partition(",")[0]
        try:
            return cls(await Bus.connect(address))
        except BusGoneError as error:
            raise CommandError(NO_DAEMON, str(error)) from None

    async def call(
        self, path: str, interface: str, member: str, signature: str = "", *body: Any, timeout: float = TIMEOUT
    ) -> list[Any]:
        """Return the daemon's answer. Raises CommandError."""
        try:
            return await self.bus.call(
                *(NAME, path, interface, member, signature), *body, timeout=timeout, returns=_RETURNS[member]
            )
        except BusError as error:
            raise _failure(error) from None
        except BusGoneError as error:
            raise CommandError(NO_DAEMON, str(error)) from None

    async def request(self, member: str, *body: str) -> list[Any]:
        """Ask the manager to change something. At a terminal, polkit may ask for a password. Raises CommandError."""
        signature, returns = "s" * len(body), _RETURNS[member]
        try:
            try:
                return await self.bus.call(
                    *(NAME, PATH, MANAGER, member, signature), *body, timeout=_BUILD_STOP, returns=returns
                )
            except BusError as error:
                if error.name != names.AUTHORIZATION_REQUIRED or not agent.is_possible():
                    raise
            with agent.ready():
                return await self.bus.call(
                    *(NAME, PATH, MANAGER, member, signature),
                    *body,
                    timeout=_PASSWORD,
                    interactive=True,
                    returns=returns,
                )
        except BusError as error:
            raise _failure(error) from None
        except BusGoneError as error:
            raise CommandError(
                NO_DAEMON, f"{error}; whether the daemon does it is not known: see 'tinyci jobs'"
            ) from None

    async def jobs(self) -> list[ListedJob]:
        """Return live and recent jobs, oldest first; ids that are none are not shown as such."""
        from tinyci.model.job import is_id

        return [ListedJob(*row) for row in (await self.call(PATH, MANAGER, "ListJobs"))[0] if is_id(row[0])]

    async def get(self, name: str, path: str = PATH, interface: str = MANAGER) -> Any:
        """Return one property. Raises CommandError."""
        async with self._places:
            reply = await self.call(path, names.PROPERTIES, "Get", "ss", interface, name)
        return _value(name, reply[0])

    async def properties(self, path: str, *needs: str, interface: str = JOB) -> dict[str, Any]:
        """Return all properties that we know, of which some are needed. Raises CommandError, also when one of those is
        missing."""
        values = (await self.call(path, names.PROPERTIES, "GetAll", "s", interface))[0]
        for name in needs:
            if name not in values:
                raise CommandError(FAILED, f"{_OTHER_VERSION} It has no property {name}.")
        return {name: _value(name, variant) for name, variant in values.items() if name in _PROPERTIES}

    async def find(self, name: str) -> ListedJob:
        """Return the job that a person means, as jobnames.find() does; also one that is only in Redis, by its whole id.
        Raises CommandError."""
        from tinyci.model.job import is_id

        jobs = await self.jobs()
        try:
            return find(jobs, await self.get("Repos"), name)
        except CommandError:
            if not is_id(name):
                raise
            return await self.listed_job(await self.path(name))

    async def check_repo(self, name: str) -> None:
        """Raise CommandError, with the names that there are, when no repo is called so."""
        repos = await self.get("Repos")
        if name not in repos:
            raise CommandError(UNKNOWN, f"there is no repo '{safe(name)}': the repos are {', '.join(repos) or 'none'}")

    async def path(self, job_id: str) -> str:
        """Return the object of a job, by its whole id; a job that was just pushed is awaited. Raises CommandError."""
        return str((await self.call(PATH, MANAGER, "GetJob", "s", job_id, timeout=LONG_POLL))[0])

    async def listed_job(self, path: str) -> ListedJob:
        """Return a job by its object. Raises CommandError."""
        properties = await self.properties(path, "Repo", "Ref", "State")
        return ListedJob(id_of(path), properties["Repo"], properties["Ref"], properties["State"], path)

    async def reconnect(self) -> None:
        """Connect again if the connection is lost. Raises CommandError."""
        if not self.bus.connected:
            client = await Client.connect()
            await self.bus.close()
            self.bus = client.bus

    async def close(self) -> None:
        await self.bus.close()


def talk(conversation: Callable[[Client], Awaitable[int]]) -> int:
    """Connect, hold the conversation, and return its exit status. Raises CommandError."""

    async def connect_and_talk() -> int:
        client = await Client.connect()
        try:
            return await conversation(client)
        finally:
            await client.close()

    return asyncio.run(connect_and_talk())


def is_lost(failure: CommandError) -> bool:
    """Return whether the daemon may be back in a moment."""
    return failure.status == NO_DAEMON


def id_of(path: str) -> str:
    """Return the id in the path of a job's object."""
    digits = path.rpartition("/_")[2]
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _value(name: str, variant: Variant) -> Any:
    """Return the value of a property. Raises CommandError when it is of another type than we know."""
    if variant.signature != _PROPERTIES[name]:
        raise CommandError(FAILED, f"{_OTHER_VERSION} It has a property {name} of type {variant.signature[:100]!r}.")
    is_endless = isinstance(variant.value, float) and not math.isfinite(variant.value)  # which JSON cannot say
    return 0.0 if is_endless else variant.value


def _failure(error: BusError) -> CommandError:
    text = str(error) or error.name
    if error.name in _NO_DAEMON:
        return CommandError(NO_DAEMON, "the daemon does not run: systemctl start tinyci")
    if error.name in _LOST:
        return CommandError(NO_DAEMON, f"the daemon went away: {text}")
    if error.name in (names.AUTHORIZATION_REQUIRED, names.ACCESS_DENIED):
        return CommandError(REFUSED, text)
    if error.name == names.UNAVAILABLE:
        return CommandError(NO_DAEMON, text)
    if error.name in _UNKNOWN:
        return CommandError(UNKNOWN, text)
    if error.name in (names.UNKNOWN_METHOD, names.UNKNOWN_OBJECT):
        return CommandError(FAILED, f"the daemon does not know this, is it of an older version? It says: {text}")
    if error.name == names.INVALID_SIGNATURE:
        return CommandError(FAILED, f"{_OTHER_VERSION} {text}.")
    return CommandError(FAILED, text)
