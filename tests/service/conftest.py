"""Servers for these tests, and a time limit: a test that hangs fails with the line where it hangs."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from busclient import BusClient
from fakepolkit import FakePolkit
from fakerequests import FakeRequests
from objectserver import serving
from servers import LIMIT, MessageBus, Redis
from tinyci.api import objects
from tinyci.api.objects import ObjectServer
from tinyci.dbus.bus import Bus
from tinyci.store.writer import StoreWriter
from webserver import JobWriter, WebServer, running


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    def fail(*_: object) -> None:
        raise TimeoutError("the test hangs here")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 2 * LIMIT)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def plain_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep git from the settings of the person at this machine."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis(session_redis: Redis) -> Redis:
    """An empty Redis. Not for tests that stop it."""
    session_redis.data.flushall()
    return session_redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that the test may stop."""
    (tmp_path / "redis").mkdir()
    server = Redis(tmp_path / "redis")
    server.start()
    yield server
    server.close()


@pytest_asyncio.fixture
async def store(redis: Redis) -> AsyncIterator[StoreWriter]:
    """A store as the daemon has it."""
    writer = StoreWriter(redis.socket, "daemon", "secret-daemon")
    yield writer
    await writer.close()


@pytest.fixture
def message_bus(tmp_path: Path) -> Iterator[MessageBus]:
    """A bus for this test alone."""
    server = MessageBus(tmp_path)
    server.start()
    yield server
    server.close()


@pytest.fixture
def system_bus(message_bus: MessageBus, monkeypatch: pytest.MonkeyPatch) -> MessageBus:
    """The test's bus, which ObjectServer takes for the system bus."""

    class TestBus(Bus):
        @classmethod
        async def connect(cls, address: str = message_bus.address, uid: int | None = None) -> Bus:
            return await super().connect(address, uid)

    monkeypatch.setattr(objects, "Bus", TestBus)
    return message_bus


@pytest_asyncio.fixture
async def tinyci(system_bus: MessageBus, requests: FakeRequests) -> AsyncIterator[ObjectServer]:
    """org.tinyci1 on the test's bus."""
    async with serving(requests, "web", "chaos-micropub") as server:
        yield server


@pytest_asyncio.fixture
async def client(message_bus: MessageBus) -> AsyncIterator[BusClient]:
    """Another program on the test's bus, subscribed to all signals of tinyci."""
    bus = await Bus.connect(message_bus.address)
    await bus.match("type='signal',path_namespace='/org/tinyci1'")
    yield BusClient(bus)
    await bus.close()


@pytest_asyncio.fixture
async def polkit(message_bus: MessageBus) -> AsyncIterator[FakePolkit]:
    """A polkit on the test's bus that allows everything until the test says otherwise."""
    bus = await Bus.connect(message_bus.address)
    authority = FakePolkit()
    bus.export("/org/freedesktop/PolicyKit1/Authority", authority)
    await bus.own("org.freedesktop.PolicyKit1")
    yield authority
    await bus.close()


@pytest.fixture
def requests() -> FakeRequests:
    """The daemon behind org.tinyci1, as far as callers see."""
    return FakeRequests()


@pytest.fixture(scope="module")
def module_web(session_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with running(tmp_path_factory.mktemp("web"), session_redis) as web:
        yield web


@pytest.fixture
def web(redis: Redis, module_web: WebServer) -> WebServer:
    """A server of an empty Redis."""
    return module_web


@pytest.fixture
def jobs(redis: Redis) -> JobWriter:
    return JobWriter(redis)
