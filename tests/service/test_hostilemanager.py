"""Managers that lie, and strangers that speak for a manager: nothing but an error of that manager comes of it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from dbus_next import Message, MessageType, Variant
from dbus_next.aio import MessageBus as Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import MessageBus
from tinyci.dbus import messagereader
from tinyci.dbus.bus import Bus
from tinyci.systemd import manager as manager_module
from tinyci.systemd import managers as managers_module
from tinyci.systemd import unit as unit_module
from tinyci.systemd.manager import Manager, ManagerError, ManagerGoneError
from tinyci.systemd.managers import Managers

NAME, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
PROPERTIES_INTERFACE = "org.freedesktop.DBus.Properties"
JOB, UNIT = f"{ROOT}/job/77", f"{ROOT}/unit/web_2eservice"
Answer = Callable[[Message], Message | None]


def honest(call: Message) -> Message | None:
    """Answers as a manager does that restarts a unit."""
    match call.member:
        case "LoadUnit":
            return Message.new_method_return(call, "o", [UNIT])
        case "RestartUnit" | "StartUnit" | "StopUnit":
            return Message.new_method_return(call, "o", [JOB])
        case "GetAll":
            unit = {
                "LoadState": Variant("s", "loaded"),
                "ActiveState": Variant("s", "deactivating"),
                "Job": Variant("(uo)", [77, JOB]),
                "InvocationID": Variant("ay", bytes(16)),
            }
            return Message.new_method_return(call, "a{sv}", [unit if call.body[0].endswith("Unit") else {}])
        case "Get":
            return Message.new_method_return(call, "v", [Variant("s", "running")])
    return Message.new_method_return(call)


class FakeManager:
    """A connection that owns the manager's name, and answers as the test says."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.answer: Answer = honest
        self._calls: asyncio.Queue[str] = asyncio.Queue()
        connection.add_message_handler(self._handle)

    def _handle(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        self._calls.put_nowait(message.member)
        return self.answer(message)

    async def wait_for_call(self, member: str) -> None:
        """Return at the next call of a method."""
        while not self._calls.empty():
            self._calls.get_nowait()
        async with asyncio.timeout(5):
            while await self._calls.get() != member:
                pass

    def remove_job(self, result: str) -> None:
        self.connection.send(removal(result))


def removal(result: str, destination: str | None = None) -> Message:
    signal = Message.new_signal(ROOT, f"{NAME}.Manager", "JobRemoved", "uoss", [77, JOB, "web.service", result])
    signal.destination = destination
    return signal


async def begin_restart(fake: FakeManager, manager: Manager) -> asyncio.Task[str]:
    """Return the restart of a unit, of which the manager has queued the job."""
    wait = asyncio.create_task(manager.restart("web.service"))
    await fake.wait_for_call("RestartUnit")
    return wait


async def connect(message_bus: MessageBus) -> Connection:
    return await Connection(bus_address=message_bus.address).connect()


@pytest_asyncio.fixture
async def fake(message_bus: MessageBus) -> AsyncIterator[FakeManager]:
    connection = await connect(message_bus)
    await connection.request_name(NAME)
    yield FakeManager(connection)
    connection.disconnect()


@pytest_asyncio.fixture
async def manager(message_bus: MessageBus, fake: FakeManager) -> AsyncIterator[Manager]:
    manager = await Manager.on_bus(await Bus.connect(message_bus.address, None, unit_module.PROPERTIES))
    yield manager
    await manager.close()


async def test_nobody_but_the_manager_tells_how_a_job_ended(
    message_bus: MessageBus, fake: FakeManager, manager: Manager
) -> None:
    stranger = await connect(message_bus)
    address = manager._bus._connection.unique_name
    await stranger.send(removal("failed", address))  # in advance
    wait = await begin_restart(fake, manager)
    await stranger.send(removal("failed", address))
    await stranger.call(Message(destination=address, path="/", interface="org.freedesktop.DBus.Peer", member="Ping"))
    assert not wait.done()
    fake.remove_job("done")
    assert await wait == "done"
    stranger.disconnect()


async def test_nobody_but_the_bus_tells_who_the_manager_is(
    message_bus: MessageBus, fake: FakeManager, manager: Manager
) -> None:
    stranger = await connect(message_bus)
    address = manager._bus._connection.unique_name
    lie = Message.new_signal(
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "NameOwnerChanged",
        "sss",
        [NAME, fake.connection.unique_name, stranger.unique_name],
    )
    lie.destination = address
    await stranger.send(lie)
    wait = await begin_restart(fake, manager)
    await stranger.send(removal("failed", address))
    fake.remove_job("done")
    assert await wait == "done"
    stranger.disconnect()


async def test_a_manager_that_is_executed_anew_is_believed_again(
    message_bus: MessageBus, fake: FakeManager, manager: Manager
) -> None:
    await fake.connection.release_name(NAME)
    successor = await connect(message_bus)
    await successor.request_name(NAME)
    again = FakeManager(successor)
    wait = await begin_restart(again, manager)
    again.remove_job("done")
    assert await wait == "done"
    successor.disconnect()


@pytest.mark.parametrize(
    "signature, body",
    [("", []), ("s", ["x"]), ("o", [ROOT]), ("a{sv}", [{"ActiveState": Variant("u", 1)}]), ("v", [Variant("u", 1)])],
)
async def test_an_answer_that_makes_no_sense_is_an_error_of_its_manager(
    fake: FakeManager, manager: Manager, signature: str, body: list[Any]
) -> None:
    fake.answer = lambda call: Message.new_method_return(call, signature, body)
    with pytest.raises(ManagerError, match="the manager gives answers that make no sense: "):
        await manager.unit("web.service")


async def test_a_manager_that_says_for_ever_that_it_shuts_down_is_not_waited_for(
    fake: FakeManager, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "_SHUTDOWN_LIMIT", 0.2)

    def stopping(call: Message) -> Message | None:
        return (
            Message.new_method_return(call, "v", [Variant("s", "stopping")]) if call.member == "Get" else honest(call)
        )

    fake.answer = stopping  # and the unit is `deactivating`
    with pytest.raises(ManagerError, match=r"the manager has been shutting down for 0.2 s, and does not end"):
        await manager.wait_until("web.service", lambda _: True)


VALUES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: ("u", number)),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40).map(
        lambda text: ("s", text)
    ),
    st.sampled_from(["active", "inactive", "failed", "deactivating", "stopping"]).map(lambda text: ("s", text)),
    st.sampled_from([UNIT, JOB, "/"]).map(lambda path: ("o", path)),
    st.binary(max_size=20).map(lambda data: ("ay", data)),
    st.lists(st.text("ab.@/ ", max_size=9), max_size=4).map(lambda names: ("as", names)),
    st.just(("(uo)", [7, JOB])),
    st.just(("b", True)),
)
KEYS = ["LoadState", "ActiveState", "Job", "InvocationID", "Result", "ExecMainCode", "NRestarts", "RequiredBy", "x"]
PROPERTIES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6).map(
    lambda values: ("a{sv}", {key: Variant(*value) for key, value in values.items()})
)
ARGUMENTS = st.lists(st.one_of(VALUES, PROPERTIES, VALUES.map(lambda value: ("v", Variant(*value)))), max_size=5)


async def test_a_manager_is_heard_only_of_what_is_waited_for(
    message_bus: MessageBus, fake: FakeManager, manager: Manager
) -> None:
    """Healthchecks of a hundred containers are a thousand signals a minute, and each wakes who asked for it."""
    paths: list[str] = []
    manager._bus._connection.add_message_handler(
        lambda message: paths.append(message.path) if message.message_type is MessageType.SIGNAL else None
    )

    async def change_units() -> None:
        for path in (UNIT, f"{ROOT}/unit/other_2eservice"):
            change = ["org.freedesktop.systemd1.Unit", {"ActiveState": Variant("s", "active")}, []]
            await fake.connection.send(
                Message.new_signal(path, PROPERTIES_INTERFACE, "PropertiesChanged", "sa{sv}as", change)
            )
        await fake.connection.send(removal("done"))
        await manager.unit("web.service")  # the answer comes behind all that

    await change_units()
    assert paths == []
    wait = asyncio.create_task(manager.wait_until("web.service", lambda unit: unit.active_state == "active"))
    await fake.wait_for_call("GetAll")
    await change_units()
    assert paths == [UNIT]
    wait.cancel()
    await asyncio.wait([wait])
    restart = await begin_restart(fake, manager)
    await change_units()
    assert await restart == "done"
    assert paths == [UNIT, ROOT]
    await change_units()
    assert paths == [UNIT, ROOT]


async def test_a_connection_that_nobody_uses_is_closed(
    message_bus: MessageBus, fake: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managers_module, "IDLE", 0.05)
    connections: list[Manager] = []

    async def connect_manager(user: str) -> Manager:
        connections.append(await Manager.on_bus(await Bus.connect(message_bus.address, None, unit_module.PROPERTIES)))
        return connections[-1]

    managers = Managers(connect=connect_manager)
    change = asyncio.create_task(
        managers.ask("web", lambda manager: manager.wait_until("web.service", lambda _: False))
    )
    await managers.ask("web", lambda manager: manager.unit("web.service"))
    (first,) = connections
    assert not managers._timers, "a question is open"
    change.cancel()
    async with asyncio.timeout(5):
        await first._bus.wait_closed()
    assert (await managers.ask("web", lambda manager: manager.unit("web.service"))).is_loaded
    assert len(connections) == 2
    await managers.close()


async def test_whatever_a_manager_says_only_its_own_errors_come_of_it(
    fake: FakeManager, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 messages, each well-formed for the bus, and of any shape for the manager."""
    examples: list[list[tuple[str, Any]]] = []

    @settings(max_examples=500, database=None, derandomize=True, suppress_health_check=list(HealthCheck), deadline=None)
    @given(ARGUMENTS)
    def collect(arguments: list[tuple[str, Any]]) -> None:
        examples.append(arguments)

    monkeypatch.setattr(manager_module, "_LOOK_AGAIN", 0.0)
    await asyncio.to_thread(collect)
    values = [value for arguments in examples for value in arguments]
    choice = random.Random(0)
    for _ in range(10_000):
        body = [value for _, value in choice.choices(values, k=choice.choice([0, 1, 1, 1, 1, 2, 4]))]
        manager._handle_signal(ROOT, f"{NAME}.Manager", "JobRemoved", body)

        async def reply(*_: Any, body: list[Any] = body) -> list[Any]:
            return body

        manager._bus.call = reply  # type: ignore[method-assign, assignment]
        for question in (manager.unit, manager.stop, manager.restart, manager.start, manager.reset_failed):
            with suppress(ManagerError, ManagerGoneError):
                await question("web.service")
    del manager._bus.call  # type: ignore[method-assign]


async def test_a_message_that_is_too_long_is_not_read(
    fake: FakeManager, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messagereader, "_MESSAGE_MAX", 100_000)
    fake.answer = lambda call: Message.new_method_return(call, "s", ["x" * 200_000])
    with pytest.raises(ManagerGoneError, match=r"a message of more than 100000 bytes|connection was lost"):
        await manager.unit("web.service")
