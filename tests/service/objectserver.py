"""The product's ObjectServer on the test's bus, with a FakeRequests behind it."""

import pytest
from fakerequests import FakeRequests
from servers import MessageBus
from tinyci.api import objects
from tinyci.api.objects import ObjectServer
from tinyci.dbus.bus import Bus
from tinyci.model import repo
from tinyci.model.repo import Repo


def use_bus(message_bus: MessageBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the test's bus the system bus of ObjectServer."""

    class TestBus(Bus):
        @classmethod
        async def connect(cls, address: str = message_bus.address, uid: int | None = None) -> Bus:
            return await super().connect(address, uid)

    monkeypatch.setattr(objects, "Bus", TestBus)


def object_server(requests: FakeRequests, *names: str) -> ObjectServer:
    """Return a server that is not connected yet, with repos of those names."""
    requests.repos = {name: repo_of(name) for name in names}
    return ObjectServer(requests, requests)


def repo_of(name: str) -> Repo:
    return repo.parse(
        f"{name}.toml", f'repository = "/srv/git/{name}.git"\nuser = "{name}"\nunits = ["{name}.service"]'
    )
