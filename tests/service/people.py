"""Both sides of org.tinyci1 in the tests: who asks over the bus, and who carries out what is asked."""
# D-Bus signatures stand where annotations do (dbus-next's way).
# ruff: noqa: F722, F821

import asyncio
from typing import Any

import pytest
from servers import MessageBus
from tinyci.api import objects
from tinyci.api.jobsource import EventEntry
from tinyci.api.objects import ObjectServer
from tinyci.api.requests import RequestError
from tinyci.dbus.bus import Bus, ServiceInterface, method
from tinyci.model import repo
from tinyci.model.repo import Repo

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
JOB_PATH = "/org/tinyci1/job/_0d313b1ecca811ec8c5967453021b8a9"
NEW_ID = "11111111-cca8-11ec-8c59-67453021b8a9"
NEW_PATH = "/org/tinyci1/job/_11111111cca811ec8c5967453021b8a9"
MANAGER = ("/org/tinyci1", "org.tinyci1.Manager")


def on_bus(message_bus: MessageBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system bus is the test's."""

    class TestBus(Bus):
        @classmethod
        async def connect(cls, address: str = message_bus.address, uid: int | None = None) -> Bus:
            return await super().connect(address, uid)

    monkeypatch.setattr(objects, "Bus", TestBus)


class FakeRequests:
    """Who carries out what people ask for: writes it down, or refuses."""

    def __init__(self) -> None:
        self.paused = False
        self.repos: dict[str, Repo] = {}
        self.done: list[tuple[str, ...]] = []
        self.refusal: RequestError | None = None
        self.kept: dict[str, dict[str, str]] = {}
        """Hashes of jobs that are not on the bus."""
        self.logs: dict[str, list[str]] = {}
        self.stream: list[EventEntry] = []

    async def job(self, job_id: str) -> dict[str, str]:
        await asyncio.sleep(0)
        return self.kept.get(job_id, {})

    async def lines(self, job_id: str, after: int, count: int) -> list[tuple[int, str]]:
        await asyncio.sleep(0)
        return list(enumerate(self.logs.get(job_id, []), 1))[after : after + count]

    async def events(self, start: str, count: int, *, newest: bool) -> list[EventEntry]:
        await asyncio.sleep(0)
        after = start.startswith("(")
        first = tuple(map(int, start.lstrip("(").split("-"))) if start != "-" else (0, 0)
        found = [
            (number, values)
            for number, values in self.stream
            if (at := tuple(map(int, number.split("-")))) > first or (at == first and not after)
        ]
        return found[-count:] if newest else found[:count]

    async def deploy(self, repo: str, ref: str, pusher: str) -> str:
        self._do("deploy", repo, ref, pusher)
        return NEW_ID

    async def rollback(self, repo: str, job_id: str, pusher: str) -> str:
        self._do("rollback", repo, job_id, pusher)
        return NEW_ID

    async def cancel(self, job_id: str) -> None:
        self._do("cancel", job_id)

    async def retry(self, job_id: str, pusher: str) -> str:
        self._do("retry", job_id, pusher)
        return NEW_ID

    async def pause(self, *, paused: bool) -> None:
        self._do("pause", str(paused))
        self.paused = paused

    def _do(self, *what: str) -> None:
        if self.refusal:
            raise self.refusal
        self.done.append(what)


class Polkit(ServiceInterface):  # type: ignore[misc]
    """Says what the test wants it to say, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("org.freedesktop.PolicyKit1.Authority")
        self.verdict = (True, False)
        self.asked: list[tuple[str, dict[str, str], int]] = []
        self.subjects: list[list[Any]] = []
        self.is_asked = asyncio.Event()
        self.thinks = asyncio.Event()
        self.thinks.set()

    @method()
    async def CheckAuthorization(
        self, subject: "(sa{sv})", action: "s", details: "a{ss}", flags: "u", cancellation: "s"
    ) -> "(bba{ss})":
        self.subjects.append([subject[0], {key: value.value for key, value in subject[1].items()}])
        self.asked.append((action, details, flags))
        self.is_asked.set()
        await self.thinks.wait()
        return [*self.verdict, {}]


def api_of(work: FakeRequests, *names: str) -> ObjectServer:
    """The API to that work, with repos of those names."""
    work.repos = {name: repo_of(name) for name in names}
    return ObjectServer(work, work)


def repo_of(name: str) -> Repo:
    return repo.parse(
        f"{name}.toml", f'repository = "/srv/git/{name}.git"\nuser = "{name}"\nunits = ["{name}.service"]'
    )


class Client:
    """Another program on the bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.signals: asyncio.Queue[tuple[str, str, str, list[Any]]] = asyncio.Queue()
        bus.on_signal(self._hear)

    def _hear(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        if member != "NameAcquired":  # of the connection itself, which comes unasked
            self.signals.put_nowait((path, interface, member, body))

    async def ask(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> list[Any]:
        return await self.bus.call("org.tinyci1", path, interface, member, signature, *body)

    async def get(self, path: str, interface: str, name: str) -> tuple[str, Any]:
        (variant,) = await self.ask(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)
        return variant.signature, variant.value

    async def get_all(self, path: str, interface: str) -> dict[str, tuple[str, Any]]:
        (values,) = await self.ask(path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface)
        return {name: (variant.signature, variant.value) for name, variant in values.items()}
