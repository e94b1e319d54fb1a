"""One connection between a daemon and a manager of the simulated host, as tinyci.bus.Bus is one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from servicemanager import ServiceManager
from tinyci.dbus.bus import BusError, BusGoneError

Handler = Callable[[str, str, str, list[Any]], None]


class FakeBus:
    """What comes over it comes in order; when it is lost, whatever was on its way is lost too."""

    def __init__(
        self,
        manager: ServiceManager,
        way: Callable[[], Awaitable[None]],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._manager = manager
        self._way = way
        self._later = later
        self._handlers: list[Handler] = []
        self._arriving: deque[Callable[[], None]] = deque()
        self._lost = asyncio.Event()
        manager.wires.append(self)

    @property
    def connected(self) -> bool:
        return not self._lost.is_set()

    async def gone(self) -> None:
        await self._lost.wait()

    async def close(self) -> None:
        self.lose()

    def lose(self) -> None:
        self._lost.set()
        self._arriving.clear()
        if self in self._manager.wires:
            self._manager.wires.remove(self)

    async def match(self, rule: str) -> None:
        await self._way()

    def on_signal(self, handler: Handler) -> None:
        self._handlers.append(handler)

    async def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> list[Any]:
        await self._way()
        if not self.connected:
            raise BusGoneError("the connection is closed")
        answer: list[Any] | BusError
        try:
            answer = self._manager.call(path, member, body)
        except BusError as error:
            answer = error
        arrived = asyncio.Event()
        self._send(arrived.set)
        waits = [asyncio.ensure_future(each.wait()) for each in (arrived, self._lost)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        await self._way()
        if not arrived.is_set():
            raise BusGoneError(f"the connection was lost during {member}")
        if isinstance(answer, BusError):
            raise answer
        return answer

    def signal(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        def deliver() -> None:
            for handler in self._handlers:
                handler(path, interface, member, body)

        self._send(deliver)

    def _send(self, arrive: Callable[[], None]) -> None:
        self._arriving.append(arrive)
        if len(self._arriving) == 1:
            self._later(self._next)

    def _next(self) -> None:
        if self._arriving:
            arrive = self._arriving.popleft()
            if self._arriving:
                self._later(self._next)
            arrive()
