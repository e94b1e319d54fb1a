"""The managers that jobs need, each connected once, found again when it was lost, and missed with a sentence."""

import asyncio
import pwd
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tinyci.manager import GATES, Manager, ManagerError, ManagerGone

T = TypeVar("T")

LINGER = "/var/lib/systemd/linger"
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

    async def get(self, user: str) -> Manager:
        """A connected manager. Raises ManagerError with what is missing when there is none for that long."""
        async with self._locks.setdefault(user, asyncio.Lock()):
            manager = self._managers.get(user)
            if manager and manager.connected:
                return manager
            if manager:
                await manager.close()
                del self._managers[user]
            self._managers[user] = await self._connect(user)
            return self._managers[user]

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
            except ManagerGone as error:
                if loop.time() - asked > self._patience:  # it was long there, so it is away only now
                    tries, failing_since = 0, loop.time()
                if loop.time() - failing_since > self._patience:
                    raise ManagerError(missing(user, str(error))) from None
            await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
            tries += 1

    async def close(self) -> None:
        for manager in self._managers.values():
            await manager.close()
        self._managers.clear()

    async def _connect(self, user: str) -> Manager:
        tries = 0
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    try:
                        return await self._connect_to_manager(user)
                    except ManagerGone as error:
                        last = error
                    # A manager that starts, or a gate that follows it, tells nobody who is not connected.
                    await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
                    tries += 1
        except TimeoutError:
            raise ManagerError(missing(user, str(last))) from None


def missing(user: str, error: str) -> str:
    """Why a user's manager cannot be reached, and the command that mends it."""
    if user == "root":
        return f"the system manager cannot be reached: {error}"
    uid = uid_of(user)
    if not Path(LINGER, user).exists():
        return f"user {user} does not linger, so its manager is not up: run 'loginctl enable-linger {user}'"
    if not Path(GATES, str(uid)).exists():
        return f"user {user} has no gate: run 'systemctl enable --now tinyci-gate@{uid}.service'"
    return f"the manager of user {user} does not answer: look at 'systemctl status user@{uid}.service' ({error})"


def uid_of(user: str) -> int:
    """Raises ManagerError when there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ManagerError(
            f"there is no user {user} on this host: create it, or change 'user' in the repo's file"
        ) from None
