"""The managers that jobs need, each connected once, found again when it was lost, and missed with a sentence."""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tinyci.systemd.manager import Manager, ManagerDownError, ManagerError, ManagerGoneError, Unit

T = TypeVar("T")

LINGER = "/var/lib/systemd/linger"
_LOOK = 5.0
"""Seconds that it may take to find out what is missing."""
_BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0)


async def connect_to_manager(user: str) -> Manager:
    """Raises ManagerGone, and ManagerError when there is no such user."""
    if user == "root":
        return await Manager.system()
    return await Manager.of_user(uid_of(user))


class Managers:
    """Connections by user name, `root` for the system's manager."""

    def __init__(
        self, patience: float = 60.0, connect: Callable[[str], Awaitable[Manager]] = connect_to_manager
    ) -> None:
        """`patience`: seconds that get() waits for a manager that is away."""
        self._patience = patience
        self._connect_to_manager = connect
        self._managers: dict[str, Manager] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._errors: dict[str, str] = {}

    async def get(self, user: str) -> Manager:
        """A connected manager. Raises ManagerError with what is missing when there is none for that long."""
        try:
            async with asyncio.timeout(self._patience), self._locks.setdefault(user, asyncio.Lock()):
                manager = self._managers.get(user)
                if manager and manager.connected:
                    return manager
                if manager:
                    await manager.close()
                    del self._managers[user]
                self._managers[user] = await self._connect(user)
                return self._managers[user]
        except TimeoutError:
            raise await self._missing(user, self._errors.get(user, "no answer")) from None

    async def ask(self, user: str, question: Callable[[Manager], Awaitable[T]]) -> T:
        """What question() gets from the user's manager; asked again when the manager goes away meanwhile.

        So a question looks at what is before it changes anything. Raises ManagerError as get() does, also for a
        manager that is there and does not answer.
        """
        loop = asyncio.get_running_loop()
        tries, failing_since = 0, loop.time()
        while True:
            manager = await self.get(user)
            asked = loop.time()
            try:
                return await question(manager)
            except ManagerGoneError as error:
                if loop.time() - asked > self._patience:  # it was long there, so it is away only now
                    tries, failing_since = 0, loop.time()
                if loop.time() - failing_since > self._patience:
                    raise await self._missing(user, str(error)) from None
            await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
            tries += 1

    async def close(self) -> None:
        for manager in self._managers.values():
            await manager.close()
        self._managers.clear()

    async def _connect(self, user: str) -> Manager:
        tries = 0
        while True:
            try:
                return await self._connect_to_manager(user)
            except ManagerGoneError as error:
                self._errors[user] = str(error)
            # A manager that starts, or a gate that follows it, tells nobody who is not connected.
            await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
            tries += 1

    async def _missing(self, user: str, error: str) -> ManagerError:
        """Why a user's manager cannot be reached, and the command that mends it."""
        if user == "root":
            return ManagerError(f"the system manager cannot be reached: {error}")
        uid = uid_of(user)
        names = f"user@{uid}.service", f"tinyci-gate@{uid}.service"
        try:
            async with asyncio.timeout(_LOOK):
                root = await self.get("root")
                service, gate = [await root.unit(name) for name in names]
        except (ManagerError, ManagerGoneError, TimeoutError):
            tells = f"look at 'systemctl status {names[0]}' ({error})"
            return ManagerError(f"the manager of user {user} does not answer: {tells}")
        is_down = service.active_state in ("inactive", "failed")
        return (ManagerDownError if is_down else ManagerError)(missing(user, lingers(user), service, gate, error))


def lingers(user: str) -> bool:
    return os.path.exists(f"{LINGER}/{user}")


def missing(user: str, lingers: bool, service: Unit, gate: Unit, error: str) -> str:
    """The sentence for what systemd says of the user's manager (user@UID.service) and its gate."""
    manager = f"the manager of user {user}"
    if service.load_state == "masked":
        return f"{manager} is masked: run 'systemctl unmask {service.name} && systemctl start {service.name}'"
    if service.active_state == "failed":
        tells = f"'journalctl -u {service.name}' tells why"
        return f"{manager} has failed ({service.result}): run 'systemctl restart {service.name}'; {tells}"
    if not lingers and service.active_state != "active":
        return f"user {user} does not linger, so its manager is not up: run 'loginctl enable-linger {user}'"
    if service.active_state == "inactive":
        return f"{manager} is not up: run 'systemctl start {service.name}'"
    if service.active_state != "active":  # it is starting, or stopping, for all that time
        return f"{manager} does not answer: look at 'systemctl status {service.name}' ({error})"
    if gate.load_state == "masked":
        return f"the gate of user {user} is masked: run 'systemctl unmask {gate.name} && systemctl start {gate.name}'"
    if gate.active_state == "failed":
        tells = f"'journalctl -u {gate.name}' tells why"
        return f"the gate of user {user} has failed ({gate.result}): run 'systemctl restart {gate.name}'; {tells}"
    if gate.active_state == "inactive":
        return f"user {user} has no gate: run 'systemctl enable --now {gate.name}'"
    return f"{manager} does not answer: look at 'systemctl status {service.name}' ({error})"


def uid_of(user: str) -> int:
    """Raises ManagerDown when there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ManagerDownError(
            f"there is no user {user} on this host: create it, or change 'user' in the repo's file"
        ) from None
