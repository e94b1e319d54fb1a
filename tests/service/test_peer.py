"""Whatever listens in the place of a bus, and whatever it sends: Bus.connect() and Bus.call() end in time."""

import asyncio
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dbus_next import Message, MessageType
from servers import Peer
from tinyci.dbus import bus as bus_module
from tinyci.dbus.bus import Bus, BusGoneError

PATIENCE = 0.3
FLOOD = 1.5
"""Seconds that a flood lasts: longer than anything here may take."""

Talk = Callable[[socket.socket], object]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow little time for connecting."""
    monkeypatch.setattr(bus_module, "TIMEOUT", PATIENCE)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Callable[[Talk], Peer]]:
    peers: list[Peer] = []

    def start_peer(talk: Talk) -> Peer:
        peers.append(Peer(tmp_path / "bus", talk))
        return peers[-1]

    yield start_peer
    for each in peers:
        each.close()


@asynccontextmanager
async def running_loop() -> AsyncIterator[None]:
    """Check that the event loop goes on turning meanwhile: other deploys are not held up."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        await asyncio.sleep(0.02)
        heart.cancel()
    assert longest < 1, f"the event loop stood still for {longest:.1f} s"


# -- what peers say ----------------------------------------------------------------------------------------------


def say(data: bytes) -> Talk:
    """Sends something, whatever it receives, and then nothing more."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        silence(connection)

    return talk


def silence(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def hang_up(connection: socket.socket) -> None:
    connection.close()


def hang_up_after_a_line(connection: socket.socket) -> None:
    line(connection)
    connection.close()


def flood(data: bytes) -> Talk:
    """Sends the same again and again, as fast as it is read: from another process, for it must not wait for us."""

    def talk(connection: socket.socket) -> None:
        connection.setblocking(True)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data * (1_000_000 // len(data)))
            file.flush()
            command = ["timeout", str(FLOOD), "sh", "-c", 'while cat "$0" 2>/dev/null; do :; done', file.name]
            subprocess.run(command, stdout=connection.fileno(), check=False)

    return talk


def let_in(then: Talk) -> Talk:
    """Authenticates as a bus does, and then does something else."""

    def talk(connection: socket.socket) -> None:
        assert line(connection).startswith(b"\0AUTH EXTERNAL ")
        connection.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
        assert line(connection) == b"BEGIN\r\n"
        then(connection)

    return talk


def line(connection: socket.socket) -> bytes:
    """Read one line and no byte more: the first message follows."""
    text = b""
    while not text.endswith(b"\r\n"):
        text += connection.recv(1)
    return text


def answer(*body: str, error: str | None = None, then: Talk = silence) -> Talk:
    """Answers the first message (Hello), and then does something else."""

    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        kind = MessageType.ERROR if error else MessageType.METHOD_RETURN
        reply = Message(
            message_type=kind,
            reply_serial=1,
            error_name=error,
            signature="s" * len(body),
            body=list(body),
            sender="org.freedesktop.DBus",
            destination=":1.1",
            serial=1,
        )
        connection.sendall(reply._marshall())
        then(connection)

    return talk


SIGNAL = Message.new_signal("/org/example", "org.example.Test", "Tick", "s", ["x" * 100])
SIGNAL.serial = 7
SIGNALS = flood(SIGNAL._marshall())
HUGE = b"l\2\1\1" + b"\xff" * 12  # the header of an answer of 4 GiB
WRONG_PATH = b"l\4\1\1\0\0\0\0\1\0\0\0\x10\0\0\0\1\1o\0\4\0\0\0nope\0\0\0\0"  # a message with a path that is none


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(silence, id="nothing"),
        pytest.param(hang_up, id="hang up"),
        pytest.param(hang_up_after_a_line, id="hang up when asked"),
        pytest.param(say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), id="another protocol"),
        pytest.param(say(b"\xff\xfe\r\n"), id="bytes"),
        pytest.param(say(b"\r\n"), id="empty line"),
        pytest.param(say(b"REJECTED EXTERNAL\r\n"), id="rejected"),
        pytest.param(say(b"DATA\r\n"), id="more questions"),
        pytest.param(say(b"OK"), id="half a line"),
        pytest.param(flood(b"A"), id="endless line"),
        pytest.param(flood(b"DATA\r\n"), id="endless lines"),
        pytest.param(let_in(silence), id="no Hello"),
        pytest.param(let_in(hang_up), id="hang up before Hello"),
        pytest.param(let_in(say(b"garbage, and more than 16 bytes of it")), id="garbage for Hello"),
        pytest.param(let_in(say(WRONG_PATH)), id="invalid message for Hello"),
        pytest.param(let_in(say(HUGE)), id="huge message for Hello"),
        pytest.param(let_in(answer("no", error="org.freedesktop.DBus.Error.AccessDenied")), id="Hello refused"),
        pytest.param(let_in(answer(error="org.example.Error")), id="Hello refused without a word"),
        pytest.param(let_in(answer()), id="Hello without a name"),
        pytest.param(let_in(flood(b"\0")), id="endless bytes"),
        pytest.param(let_in(SIGNALS), id="endless signals"),
    ],
)
async def test_what_is_no_bus_is_gone_in_time(peer: Callable[[Talk], Peer], talk: Talk) -> None:
    address = peer(talk).address
    start = time.monotonic()
    async with running_loop():
        with pytest.raises(BusGoneError):
            await Bus.connect(address)
    assert time.monotonic() - start < PATIENCE + 1


@pytest.mark.parametrize("kind", ["missing", "file", "directory", "nobody listens"])
async def test_where_nobody_listens_there_is_no_bus(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bus"
    if kind == "file":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    elif kind == "nobody listens":
        with socket.socket(socket.AF_UNIX) as dead_socket:
            dead_socket.bind(str(path))
    with pytest.raises(BusGoneError, match=f"cannot connect to unix:path={path}: "):
        await Bus.connect(f"unix:path={path}")


async def test_a_bus_that_accepts_nobody_is_gone_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf_socket:
        deaf_socket.bind(str(tmp_path / "bus"))
        deaf_socket.listen()  # and never accepts
        with pytest.raises(BusGoneError, match=r"did not answer within 0\.3 s"):
            await Bus.connect(f"unix:path={tmp_path}/bus")


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(silence, id="silence"),
        pytest.param(hang_up, id="hang up"),
        pytest.param(say(b"garbage, and more than 16 bytes of it"), id="garbage"),
        pytest.param(say(WRONG_PATH), id="invalid message"),
        pytest.param(say(HUGE), id="huge message"),
        pytest.param(SIGNALS, id="endless signals"),
    ],
)
async def test_a_call_to_what_was_a_bus_ends_in_time(peer: Callable[[Talk], Peer], then: Talk) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        then(connection)

    bus = await Bus.connect(peer(let_in(answer(":1.1", then=talk))).address)
    start = time.monotonic()
    try:
        async with running_loop():
            with pytest.raises(BusGoneError):
                await bus.call("a.b", "/", "a.b", "C", timeout=PATIENCE)
    finally:
        await bus.close()
    assert time.monotonic() - start < PATIENCE + 1


async def test_another_user_is_named_by_the_digits_of_its_uid(peer: Callable[[Talk], Peer]) -> None:
    """See D-Bus Specification, "Authentication Protocol", EXTERNAL."""
    lines: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        lines.append(line(connection))
        connection.sendall(b"REJECTED\r\n")

    with pytest.raises(BusGoneError, match="the bus does not accept uid 1001: REJECTED"):
        await Bus.connect(peer(listen).address, uid=1001)
    assert lines == [b"\0AUTH EXTERNAL 31303031\r\n"]
