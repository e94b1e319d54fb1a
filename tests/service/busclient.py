"""Another program on the bus, which calls org.tinyci1 and hears its signals."""

import asyncio
from typing import Any

from tinyci.dbus.bus import Bus

MANAGER = ("/org/tinyci1", "org.tinyci1.Manager")
"""Object and interface of the manager, for call()."""


class BusClient:
    """A connection to the bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.signals: asyncio.Queue[tuple[str, str, str, list[Any]]] = asyncio.Queue()
        """Path, interface, member and arguments of each signal."""
        bus.on_signal(self._add_signal)

    def _add_signal(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        if member != "NameAcquired":  # of the connection itself, which comes unasked
            self.signals.put_nowait((path, interface, member, body))

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> list[Any]:
        return await self.bus.call("org.tinyci1", path, interface, member, signature, *body)

    async def get(self, path: str, interface: str, name: str) -> tuple[str, Any]:
        """Return signature and value of a property."""
        (variant,) = await self.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)
        return variant.signature, variant.value

    async def get_all(self, path: str, interface: str) -> dict[str, tuple[str, Any]]:
        (values,) = await self.call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface)
        return {name: (variant.signature, variant.value) for name, variant in values.items()}
