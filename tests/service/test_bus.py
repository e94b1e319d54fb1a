"""A connection to a real message bus: calls and their errors, signals, and how it ends."""
# D-Bus signatures stand where annotations do (dbus-next's way).
# ruff: noqa: F821

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from servers import MessageBus
from tinyci.dbus.bus import Bus, BusError, BusGoneError, ReplyError, ServiceInterface, caller, method, signal
from tinyci.dbus.turnstile import Cost

NAME, PATH, INTERFACE = "org.example.Test", "/org/example/test", "org.example.Test"
DBUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
SECRET = "secret of /etc/passwd"


class Service(ServiceInterface):  # type: ignore[misc]
    """Answers its methods in every way that a method can end."""

    def __init__(self) -> None:
        super().__init__(INTERFACE)
        self.call_arrived = asyncio.Event()
        self.go_on = asyncio.Event()

    @method()
    def Echo(self, text: "s") -> "s":
        return text

    @method()
    def Refuse(self):  # type: ignore[no-untyped-def]
        raise ReplyError("org.tinyci1.Error.NoSuchJob", "no such job")

    @method()
    def Break(self):  # type: ignore[no-untyped-def]
        raise RuntimeError(SECRET)

    @method()
    async def BreakLater(self) -> "s":
        await asyncio.sleep(0)
        raise RuntimeError(SECRET)

    @method()
    async def Wait(self) -> "s":
        self.call_arrived.set()
        await self.go_on.wait()
        return "at last"

    @method()
    async def Stop(self) -> "s":
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    @method()
    async def Caller(self, turns: "u") -> "sb":
        for _ in range(turns):
            await asyncio.sleep(0)
        return list(caller())

    @signal()
    def Tick(self, number: int) -> "u":
        return number


@asynccontextmanager
async def connected(message_bus: MessageBus) -> AsyncIterator[Bus]:
    bus = await Bus.connect(message_bus.address)
    try:
        yield bus
    finally:
        await bus.close()


@pytest_asyncio.fixture
async def service(message_bus: MessageBus) -> AsyncIterator[Service]:
    """A service of ours, on a connection of its own."""
    async with connected(message_bus) as bus:
        exported_service = Service()
        bus.admit_callers(lambda interface, member: Cost.SHORT)
        bus.export(PATH, exported_service)
        await bus.own(NAME)
        yield exported_service


@pytest_asyncio.fixture
async def bus(message_bus: MessageBus) -> AsyncIterator[Bus]:
    async with connected(message_bus) as connection:
        yield connection


async def ask(bus: Bus, member: str, signature: str = "", *body: Any, timeout: float = 10.0) -> list[Any]:
    return await bus.call(NAME, PATH, INTERFACE, member, signature, *body, timeout=timeout)


# -- answers -----------------------------------------------------------------------------------------------------


async def test_a_call_returns_what_was_answered(service: Service, bus: Bus) -> None:
    assert await ask(bus, "Echo", "s", "grüße") == ["grüße"]


async def test_an_error_of_ours_reaches_the_caller_as_it_is(service: Service, bus: Bus) -> None:
    with pytest.raises(BusError) as refusal:
        await ask(bus, "Refuse")
    assert (refusal.value.name, str(refusal.value)) == ("org.tinyci1.Error.NoSuchJob", "no such job")


@pytest.mark.parametrize("member", ["Break", "BreakLater"])
async def test_of_another_error_the_caller_learns_nothing(
    service: Service, bus: Bus, caplog: pytest.LogCaptureFixture, member: str
) -> None:
    with pytest.raises(BusError) as refusal:
        await ask(bus, member)
    assert refusal.value.name == "org.freedesktop.DBus.Error.Failed"
    assert str(refusal.value) == "an internal error, see the journal of tinyci.service"
    assert SECRET in caplog.text  # and its admin everything
    assert f"{member} of a D-Bus caller failed" in caplog.text


async def test_a_method_that_our_end_cut_off_says_so(service: Service, bus: Bus) -> None:
    with pytest.raises(BusError) as refusal:
        await ask(bus, "Stop")
    assert refusal.value.name == "org.tinyci1.Error.ShuttingDown"


async def test_a_method_that_is_not_there_is_an_error(service: Service, bus: Bus) -> None:
    with pytest.raises(BusError) as refusal:
        await ask(bus, "Nothing")
    assert refusal.value.name == "org.freedesktop.DBus.Error.UnknownMethod"


async def test_a_service_that_is_not_there_is_an_error(bus: Bus) -> None:
    with pytest.raises(BusError) as refusal:
        await ask(bus, "Echo", "s", "x")
    assert refusal.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"


async def test_every_method_knows_its_own_caller(service: Service, message_bus: MessageBus) -> None:
    async with connected(message_bus) as one, connected(message_bus) as other:
        owners = [(await each.call(*DBUS, "GetNameOwner", "s", ":1.1"))[0] for each in (one, other)]
        assert owners == [":1.1", ":1.1"]
        callers = await asyncio.gather(
            *(ask(each, "Caller", "u", turns) for turns in (3, 0, 2) for each in (one, other))
        )
    assert {name for name, _ in callers[0::2]} == {":1.1"}
    assert {name for name, _ in callers[1::2]} == {":1.2"}
    assert not any(interactive for _, interactive in callers)


def test_outside_of_a_method_nobody_calls() -> None:
    with pytest.raises(LookupError):
        caller()


async def test_a_name_has_one_owner(message_bus: MessageBus) -> None:
    async with connected(message_bus) as second:
        free = asyncio.Event()

        def watch_owner(path: str, interface: str, member: str, arguments: list[Any]) -> None:
            if member == "NameOwnerChanged" and arguments[2] == "":
                free.set()

        second.on_signal(watch_owner)
        await second.match(f"type='signal',member='NameOwnerChanged',arg0='{NAME}'")
        async with connected(message_bus) as first:
            await first.own(NAME)
            with pytest.raises(BusError, match=f"{NAME} is owned by another process"):
                await second.own(NAME)
        await free.wait()  # the bus takes a moment to see that a connection was closed
        assert await second.call(*DBUS, "NameHasOwner", "s", NAME) == [False]  # who was refused does not inherit


async def test_a_name_that_the_bus_refuses_is_an_error(bus: Bus) -> None:
    with pytest.raises(BusError, match=r"cannot own org\.freedesktop\.DBus"):
        await bus.own("org.freedesktop.DBus")


# -- signals -----------------------------------------------------------------------------------------------------


class SignalRecorder:
    """The signals of a connection, in the order they came."""

    def __init__(self, bus: Bus) -> None:
        self.numbers: list[int] = []
        self._enough = asyncio.Event()
        self._count = 0
        bus.on_signal(self._record)

    def _record(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        if (path, interface, member) == (PATH, INTERFACE, "Tick"):
            self.numbers.append(body[0])
            if len(self.numbers) >= self._count:
                self._enough.set()

    async def wait_for(self, count: int) -> list[int]:
        self._count = count
        if len(self.numbers) < count:
            await self._enough.wait()
        return self.numbers


async def test_a_burst_of_signals_waits_for_a_bus_that_hangs(
    service: Service, bus: Bus, message_bus: MessageBus
) -> None:
    recorder = SignalRecorder(bus)
    await bus.match(f"type='signal',interface='{INTERFACE}'")
    message_bus.pause()
    for number in range(5000):
        service.Tick(number)
    for _ in range(100):  # turns of the loop, in which the socket's buffer fills up
        await asyncio.sleep(0)
    assert bus.connected
    message_bus.resume()
    assert await recorder.wait_for(5000) == list(range(5000))
    assert await ask(bus, "Echo", "s", "still there") == ["still there"]


async def test_a_burst_of_calls_is_answered(service: Service, bus: Bus, message_bus: MessageBus) -> None:
    message_bus.pause()
    text = "x" * 10_000
    calls = [asyncio.create_task(ask(bus, "Echo", "s", f"{number} {text}")) for number in range(100)]
    await asyncio.sleep(0)
    message_bus.resume()
    assert await asyncio.gather(*calls) == [[f"{number} {text}"] for number in range(100)]


async def test_a_message_that_is_larger_than_the_buffer_arrives(service: Service, bus: Bus) -> None:
    assert await ask(bus, "Echo", "s", "x" * 3_000_000) == ["x" * 3_000_000]


async def test_a_handler_that_fails_hears_of_the_next_signal(
    service: Service, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: str, interface: str, *_: object) -> None:
        if interface == INTERFACE:  # the bus' own NameAcquired may come now, or may have come before
            raise RuntimeError("a strange argument")

    bus.on_signal(fail)
    recorder = SignalRecorder(bus)
    await bus.match(f"type='signal',interface='{INTERFACE}'")
    service.Tick(1)
    service.Tick(2)
    assert await recorder.wait_for(2) == [1, 2]
    assert caplog.text.count("RuntimeError: a strange argument") == 2


# -- the end -----------------------------------------------------------------------------------------------------


async def test_a_call_that_nobody_answers_ends_in_time(service: Service, bus: Bus) -> None:
    start = time.monotonic()
    with pytest.raises(BusGoneError, match=r"Wait was not answered within 0\.2 s"):
        await ask(bus, "Wait", timeout=0.2)
    assert time.monotonic() - start < 2
    service.go_on.set()
    assert await ask(bus, "Echo", "s", "on") == ["on"]  # the late answer disturbs nothing


async def test_a_call_to_a_bus_that_hangs_ends_in_time(bus: Bus, message_bus: MessageBus) -> None:
    message_bus.pause()
    with pytest.raises(BusGoneError, match="was not answered within"):
        await bus.call(*DBUS, "GetId", timeout=0.2)
    message_bus.resume()


async def test_a_call_whose_connection_is_lost_ends_at_once(
    service: Service, bus: Bus, message_bus: MessageBus
) -> None:
    call = asyncio.create_task(ask(bus, "Wait", timeout=20))
    await service.call_arrived.wait()
    start = time.monotonic()
    message_bus.kill()
    with pytest.raises(BusGoneError, match="the connection was lost during Wait"):
        await call
    assert time.monotonic() - start < 1


async def test_the_loss_of_the_connection_is_told(bus: Bus, message_bus: MessageBus) -> None:
    assert bus.connected
    end = asyncio.create_task(bus.wait_closed())
    await asyncio.sleep(0)
    assert not end.done()
    message_bus.kill()
    await end
    assert not bus.connected
    with pytest.raises(BusGoneError, match="the connection is closed"):
        await bus.call(*DBUS, "GetId")


async def test_a_connection_that_we_close_is_gone(message_bus: MessageBus) -> None:
    bus = await Bus.connect(message_bus.address)
    await bus.close()
    await bus.wait_closed()
    assert not bus.connected
    await bus.close()


async def test_no_descriptor_is_left(message_bus: MessageBus) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        bus = await Bus.connect(message_bus.address)
        await bus.close()
    dead_bus = await Bus.connect(message_bus.address)
    message_bus.kill()
    await dead_bus.wait_closed()
    await dead_bus.close()
    for _ in range(3):
        with pytest.raises(BusGoneError):
            await Bus.connect(message_bus.address)
    assert len(os.listdir("/proc/self/fd")) <= before - 1  # the pipe of the bus that was killed


async def test_an_answer_that_is_late_for_its_connection_harms_no_other(
    service: Service, bus: Bus, message_bus: MessageBus
) -> None:
    """The descriptor of the old connection is by then the one of the new."""
    call = asyncio.create_task(ask(bus, "Wait"))
    await service.call_arrived.wait()
    message_bus.kill()
    with pytest.raises(BusGoneError):
        await call
    await asyncio.sleep(0)
    message_bus.start()
    async with connected(message_bus) as one, connected(message_bus) as other:
        service.go_on.set()
        for each in (one, other, one, other):
            assert await each.call(*DBUS, "GetId", timeout=2)


# -- another user ------------------------------------------------------------------------------------------


async def test_a_bus_that_takes_us_for_another_refuses_us_at_once(message_bus: MessageBus) -> None:
    start = time.monotonic()
    with pytest.raises(BusGoneError, match="the bus does not accept uid 4242: REJECTED EXTERNAL"):
        await Bus.connect(message_bus.address, uid=4242)
    assert time.monotonic() - start < 1
