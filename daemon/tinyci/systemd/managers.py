"""A pool of connections to systemd managers: one per user, reconnected when lost, with a diagnosis when that fails."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tinyci.model import gate
from tinyci.runtime.backoff import Backoff
from tinyci.systemd.manager import Manager, ManagerDownError, ManagerError, ManagerGoneError
from tinyci.systemd.managerdiagnosis import explain_absence
from tinyci.systemd.useraccount import is_lingering, uid_of

T = TypeVar("T")

_DIAGNOSIS_LIMIT = 5.0
"""Seconds that a diagnosis may take."""
IDLE = 60.0
"""Seconds without a question after which a connection is closed."""
_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0)


async def connect_to_manager(user: str) -> Manager:
    """Connect to the manager of a user. Raises ManagerGoneError, and ManagerError when there is no such user."""
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
        self._locks: dict[str, asyncio.Lock] = {}  # one connects at a time
        self._errors: dict[str, str] = {}  # the last one of each user
        self._questions: Counter[str] = Counter()  # that are open, of each user
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closings: set[asyncio.Future[None]] = set()

    async def get(self, user: str) -> Manager:
        """Return a connected manager. Raises ManagerError, with a diagnosis, when there is none for `patience`."""
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
            raise await self._diagnose(user, self._errors.get(user, "no answer")) from None

    async def ask(self, user: str, question: Callable[[Manager], Awaitable[T]]) -> T:
        """Return the result of question() on the user's manager, asked again each time that the manager goes away.

        So a question looks at the state before it changes anything. Raises ManagerError as get() does, also for a
        manager that is there and does not answer.
        """
        self._questions[user] += 1
        try:
            return await self._ask(user, question)
        finally:
            self._questions[user] -= 1
            if not self._questions[user]:
                del self._questions[user]
                self._close_later(user)

    async def _ask(self, user: str, question: Callable[[Manager], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        backoff, first_failure = Backoff(*_DELAYS), loop.time()
        while True:
            manager = await self.get(user)
            start = loop.time()
            try:
                return await question(manager)
            except ManagerGoneError as error:
                if loop.time() - start > self._patience:  # it was there for long, so it has gone only now
                    backoff.reset()
                    first_failure = loop.time()
                if loop.time() - first_failure > self._patience:
                    raise await self._diagnose(user, str(error)) from None
            await backoff.wait()

    def _close_later(self, user: str) -> None:
        """Close a connection that is not used for a while: a manager has much to tell who is subscribed to it."""
        if timer := self._timers.pop(user, None):
            timer.cancel()
        self._timers[user] = asyncio.get_running_loop().call_later(IDLE, self._start_closing, user)

    def _start_closing(self, user: str) -> None:
        task = asyncio.ensure_future(self._close_idle(user))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    async def _close_idle(self, user: str) -> None:
        async with self._locks[user]:
            if user not in self._questions and (manager := self._managers.pop(user, None)):
                await manager.close()

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for manager in self._managers.values():
            await manager.close()
        self._managers.clear()

    async def _connect(self, user: str) -> Manager:
        backoff = Backoff(*_DELAYS)
        while True:
            try:
                return await self._connect_to_manager(user)
            except ManagerGoneError as error:
                self._errors[user] = str(error)
            # A manager that starts, or a gate that follows it, tells nobody who is not connected.
            await backoff.wait()

    async def _diagnose(self, user: str, error: str) -> ManagerError:
        """Find out why a user's manager cannot be reached."""
        if user == "root":
            return ManagerError(f"the system manager cannot be reached: {error}")
        uid = uid_of(user)
        service_name = f"user@{uid}.service"
        try:
            async with asyncio.timeout(_DIAGNOSIS_LIMIT):
                service = await self.ask("root", lambda root: root.unit(service_name))
                gate_unit = await self.ask("root", lambda root: root.unit(gate.unit_name(uid)))
        except (ManagerError, ManagerGoneError, TimeoutError):
            return ManagerError(
                f"the manager of user {user} does not answer: look at 'systemctl status {service_name}' ({error})"
            )
        sentence = explain_absence(user, service, gate_unit, error, is_lingering=is_lingering(user))
        is_down = service.active_state in ("inactive", "failed")
        return ManagerDownError(sentence) if is_down else ManagerError(sentence)
