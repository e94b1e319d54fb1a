"""A unit that is waited for is asked about once, and one that is started and comes up not at all: the signals of its
manager tell of it, and nothing that they tell is asked again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from dbus_next import Message, MessageType, Variant
from dbus_next.aio import MessageBus as Connection
from servers import MessageBus
from tinyci.dbus.bus import Bus
from tinyci.systemd.manager import Manager
from tinyci.systemd.unit import PROPERTIES, Unit

NAME, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
UNIT, SERVICE = f"{NAME}.Unit", f"{NAME}.Service"
PATH, JOB = f"{ROOT}/unit/web_2eservice", f"{ROOT}/job/1"
Values = dict[str, Variant]


class ModelManager:
    """A manager of one unit, which counts what it is asked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.counts: Counter[str] = Counter()
        self.has_answered = asyncio.Event()
        """Set when it has told all of the unit."""
        self.after_first_answer: Callable[[], None] = lambda: None
        self.at_start: Callable[[], Awaitable[None]] | None = None
        """Runs when it is told to start the unit, before its answer."""
        self.values: dict[str, Values] = {
            UNIT: {
                "LoadState": Variant("s", "loaded"),
                "ActiveState": Variant("s", "activating"),
                "SubState": Variant("s", "start"),
                "Job": Variant("(uo)", [1, JOB]),
                "InvocationID": Variant("ay", bytes(range(16))),
                "InactiveExitTimestampMonotonic": Variant("t", 5_000_000),
                "ConditionResult": Variant("b", True),
                "ConditionTimestampMonotonic": Variant("t", 4_000_000),
                "Requires": Variant("as", ["basic.target"]),
            },
            SERVICE: {
                "Result": Variant("s", "success"),
                "NRestarts": Variant("u", 0),
                "StatusText": Variant("s", ""),
                "ExecMainCode": Variant("i", 0),
                "ExecMainStatus": Variant("i", 0),
                "ExecMainPID": Variant("u", 0),
                "ExecMainStartTimestampMonotonic": Variant("t", 6_000_000),
                "ExecMainExitTimestampMonotonic": Variant("t", 0),
                "TimeoutStartUSec": Variant("t", 90_000_000),
            },
        }
        connection.add_message_handler(self._handle)

    def _handle(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        self.counts[message.member] += 1
        match message.member:
            case "LoadUnit":
                return Message.new_method_return(message, "o", [PATH])
            case "GetAll":
                answer = Message.new_method_return(message, "a{sv}", [dict(self.values[message.body[0]])])
                if message.body[0] == UNIT:
                    self.after_first_answer()
                else:
                    self.has_answered.set()
                return answer
            case "StartUnit":
                self._start = asyncio.ensure_future(self._answer_start(message))
                return True
            case "Get":
                return Message.new_method_return(message, "v", [Variant("s", "running")])
        return Message.new_method_return(message)

    async def _answer_start(self, message: Message) -> None:
        if self.at_start:
            await self.at_start()
        await self._connection.send(Message.new_method_return(message, "o", [JOB]))

    async def signal_all(self) -> None:
        """Signal a whole change."""
        await self.signal(SERVICE)
        await self.signal(UNIT)

    async def signal(self, interface: str, *without: str) -> None:
        """Signal the properties of an interface that may change; `without` some."""
        constant = {"LoadState", "Requires", "TimeoutStartUSec", *without}
        values = {name: value for name, value in self.values[interface].items() if name not in constant}
        message = Message.new_signal(
            PATH,
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            "sa{sv}as",
            [interface, values, ["Conditions"]],
        )
        await self._connection.send(message)

    def enter(self, active_state: str, **service: Variant) -> None:
        self.values[UNIT] |= {"ActiveState": Variant("s", active_state), "Job": Variant("(uo)", [0, "/"])}
        self.values[SERVICE] |= service


@pytest_asyncio.fixture
async def model(message_bus: MessageBus) -> AsyncIterator[ModelManager]:
    connection = await Connection(bus_address=message_bus.address).connect()
    await connection.request_name(NAME)
    yield ModelManager(connection)
    connection.disconnect()


@pytest_asyncio.fixture
async def manager(message_bus: MessageBus, model: ModelManager) -> AsyncIterator[Manager]:
    manager = await Manager.on_bus(await Bus.connect(message_bus.address, None, PROPERTIES))
    model.counts.clear()
    yield manager
    await manager.close()


def wait_for_idle(manager: Manager, seen: list[Unit]) -> asyncio.Task[Unit]:
    """Return the wait for the unit to be idle; `seen`: the states of it that were looked at."""

    def is_idle(unit: Unit) -> bool:
        seen.append(unit)
        return unit.is_idle

    return asyncio.create_task(manager.wait_until("web.service", is_idle))


async def end(wait: asyncio.Task[Unit]) -> Unit:
    async with asyncio.timeout(5):
        return await wait


async def test_a_change_that_is_signalled_is_not_asked_about(model: ModelManager, manager: Manager) -> None:
    wait = wait_for_idle(manager, [])
    await model.has_answered.wait()
    failure: dict[str, Any] = {"ExecMainCode": Variant("i", 1), "ExecMainStatus": Variant("i", 3)}
    model.enter("active", StatusText=Variant("s", "verified: all"), **failure)
    await model.signal(SERVICE)
    await model.signal(UNIT)
    unit = await end(wait)
    assert (unit.active_state, unit.has_job, unit.exit_status, unit.status_text) == (
        *("active", False, 3),
        "verified: all",
    )
    assert (unit.requirements, unit.start_limit, unit.is_loaded) == (("basic.target",), 90.0, True)
    assert model.counts == {"LoadUnit": 1, "GetAll": 2}


async def test_half_a_change_is_not_believed(model: ModelManager, manager: Manager) -> None:
    seen: list[Unit] = []
    wait = wait_for_idle(manager, seen)
    await model.has_answered.wait()
    model.enter("failed", Result=Variant("s", "exit-code"))
    await model.signal(SERVICE)
    await manager.unit("web.service")  # the answer comes behind the signal
    assert [unit.result for unit in seen] == ["success"]
    await model.signal(UNIT)
    assert (await end(wait)).result == "exit-code"
    assert all((unit.active_state == "failed") == (unit.result == "exit-code") for unit in seen)


@pytest.mark.parametrize(("interface", "missing"), [(UNIT, "InvocationID"), (SERVICE, "StatusText"), (UNIT, "Job")])
async def test_a_change_of_which_something_is_missing_is_asked_about(
    model: ModelManager, manager: Manager, interface: str, missing: str
) -> None:
    wait = wait_for_idle(manager, [])
    await model.has_answered.wait()
    model.enter("failed", StatusText=Variant("s", "failed: because"))
    for each in (SERVICE, UNIT):
        await model.signal(each, *([missing] if each == interface else []))
    unit = await end(wait)
    assert (unit.active_state, unit.status_text, len(unit.invocation_id)) == ("failed", "failed: because", 32)
    assert model.counts["GetAll"] == 4


async def test_a_signal_without_its_first_half_is_asked_about(model: ModelManager, manager: Manager) -> None:
    wait = wait_for_idle(manager, [])
    await model.has_answered.wait()
    model.enter("failed", Result=Variant("s", "oom-kill"))
    await model.signal(UNIT)
    assert (await end(wait)).result == "oom-kill"
    assert model.counts["GetAll"] == 4


async def test_a_change_between_two_answers_is_not_missed(model: ModelManager, manager: Manager) -> None:
    """The first answer was true before it."""

    async def change() -> None:
        await model.signal(SERVICE)
        await model.signal(UNIT)

    def enter() -> None:
        model.enter("failed", Result=Variant("s", "exit-code"))
        tasks.append(asyncio.create_task(change()))

    tasks: list[asyncio.Task[None]] = []
    model.after_first_answer = enter
    unit = await end(wait_for_idle(manager, []))
    assert (unit.active_state, unit.result) == ("failed", "exit-code")
    await asyncio.gather(*tasks)


def start_and_wait(manager: Manager) -> asyncio.Task[Unit]:
    return asyncio.create_task(manager.start_and_wait_until("web.service", lambda unit: unit.is_idle))


async def test_a_unit_that_is_started_and_comes_up_is_not_asked_about(model: ModelManager, manager: Manager) -> None:
    async def come_up() -> None:
        await model.signal_all()
        model.enter("active", StatusText=Variant("s", "remark: fine"))
        await model.signal_all()

    model.at_start = come_up
    unit = await end(start_and_wait(manager))
    assert (unit.active_state, unit.status_text, unit.start_time) == ("active", "remark: fine", 5.0)
    assert unit.invocation_id == bytes(range(16)).hex()
    assert model.counts == {"StartUnit": 1}


async def test_of_a_unit_that_is_started_and_fails_everything_is_asked(model: ModelManager, manager: Manager) -> None:
    async def fail() -> None:
        model.enter("failed", Result=Variant("s", "timeout"))
        await model.signal_all()

    model.at_start = fail
    unit = await end(start_and_wait(manager))
    assert (unit.active_state, unit.result, unit.start_limit) == ("failed", "timeout", 90.0)
    assert model.counts == {"StartUnit": 1, "GetAll": 2, "Get": 1}


async def test_a_signal_from_before_the_start_is_not_believed(model: ModelManager, manager: Manager) -> None:
    """The unit was idle then."""
    now = dict(model.values[UNIT])

    async def tell_of_before() -> None:
        model.enter("inactive", Result=Variant("s", "success"))
        await model.signal_all()
        model.values[UNIT] = now

    model.at_start = tell_of_before
    wait = start_and_wait(manager)
    await model.has_answered.wait()
    await manager.unit("web.service")
    assert not wait.done()
    model.enter("active", StatusText=Variant("s", "new"))
    await model.signal_all()
    assert (await end(wait)).status_text == "new"
