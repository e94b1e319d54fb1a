"""A connection between the daemon and a manager of the simulated host, with the methods of tinyci.dbus.bus.Bus."""

import asyncio
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from servicemanager import ServiceManager
from tinyci.dbus.bus import BusError, BusGoneError
from tinyci.runtime.waiting import first_of

Handler = Callable[[str, str, str, list[Any]], None]


class FakeBus:
    """Delivers messages in order, and loses those on their way when the connection is lost."""

    def __init__(
        self,
        manager: ServiceManager,
        travel: Callable[[], Awaitable[None]],
        schedule: Callable[[Callable[[], None]], None],
    ) -> None:
        self._manager = manager
        self._travel = travel
        self._schedule = schedule
        self._handlers: list[Handler] = []
        self._rules: Counter[str] = Counter()
        self._messages: deque[Callable[[], None]] = deque()
        self._end = asyncio.Event()
        manager.buses.append(self)

    @property
    def connected(self) -> bool:
        return not self._end.is_set()

    async def wait_closed(self) -> None:
        await self._end.wait()

    async def close(self) -> None:
        self.lose()

    def lose(self) -> None:
        self._end.set()
        self._messages.clear()
        if self in self._manager.buses:
            self._manager.buses.remove(self)

    @asynccontextmanager
    async def matching(self, rule: str) -> AsyncIterator[None]:
        await self._travel()
        if not self.connected:
            raise BusGoneError("the connection is closed")
        self._rules[rule] += 1
        try:
            await self._travel()
            yield
        finally:
            self._rules[rule] -= 1

    def _is_asked_for(self, message: Mapping[str, str]) -> bool:
        """True if one of the match rules passes a signal."""
        rules = (dict(re.findall(r"(\w+)='([^']*)'", rule)) for rule, count in self._rules.items() if count)
        return any(all(rule.get(key, value) == value for key, value in message.items()) for rule in rules)

    async def listen(self, name: str, handler: Handler) -> None:
        await self._travel()
        self._handlers.append(handler)
        await self._travel()

    async def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> list[Any]:
        await self._travel()
        if not self.connected:
            raise BusGoneError("the connection is closed")
        answer: list[Any] | BusError
        try:
            answer = self._manager.call(path, member, body)
        except BusError as error:
            answer = error
        arrival = asyncio.Event()
        self._send(arrival.set)
        await first_of(arrival.wait(), self._end.wait())
        await self._travel()
        if not arrival.is_set():
            raise BusGoneError(f"the connection was lost during {member}")
        if isinstance(answer, BusError):
            raise answer
        return answer

    def signal(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        if not self._is_asked_for({"path": path, "interface": interface, "member": member}):
            return

        def deliver() -> None:
            for handler in self._handlers:
                handler(path, interface, member, body)

        self._send(deliver)

    def _send(self, deliver: Callable[[], None]) -> None:
        self._messages.append(deliver)
        if len(self._messages) == 1:
            self._schedule(self._deliver_next)

    def _deliver_next(self) -> None:
        if self._messages:
            deliver = self._messages.popleft()
            if self._messages:
                self._schedule(self._deliver_next)
            deliver()
