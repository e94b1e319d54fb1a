"""D-Bus connections: the only module that knows dbus-next, and it covers that library's defects.

dbus-next 0.2.3 drops the connection when the socket's buffer is full, never answers a call whose connection is gone,
sends tracebacks to callers, connects blocking in its constructor and leaves its socket open. Each is met below.
"""

import asyncio
import contextvars
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

# The library would also import what GLib's main loop needs: 17 ms of each start of a command line, for nothing here.
sys.modules["gi"] = None  # type: ignore[assignment]
from dbus_next import Message, MessageFlag, MessageType, Variant  # noqa: E402
from dbus_next.aio.message_bus import MessageBus, _MessageWriter  # noqa: E402
from dbus_next.auth import AuthExternal, _AuthResponse  # noqa: E402
from dbus_next.constants import BusType, NameFlag, PropertyAccess, RequestNameReply  # noqa: E402
from dbus_next.errors import DBusError as _LibraryError  # noqa: E402
from dbus_next.introspection import Node  # noqa: E402
from dbus_next.service import ServiceInterface, dbus_property, method, signal  # noqa: E402

from tinyci import catalog  # noqa: E402

del sys.modules["gi"]

__all__ = [
    "Bus",
    "BusError",
    "BusGoneError",
    "Caller",
    "PropertyAccess",
    "ReplyError",
    "ServiceInterface",
    "Variant",
    "caller",
    "dbus_property",
    "method",
    "signal",
]

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
TIMEOUT = 20.0
"""Seconds that a call, or the whole of connecting, may take unless said otherwise."""

_PER_TURN = 100
_LONGEST = 1000
"""Characters of an error that a caller is told."""

_DBUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")

_DEFECT = {"MESSAGE_ID": catalog.DEFECT}

log = logging.getLogger(__name__)

# The message that is being handled; methods inherit it, so they can tell who calls.
_current: contextvars.ContextVar[Message | None] = contextvars.ContextVar("current", default=None)


class BusError(Exception):
    """The peer answered with an error; `name` is the D-Bus name of it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class BusGoneError(Exception):
    """There is no connection, or no answer in time: whether the call was carried out is not known."""


class ReplyError(_LibraryError):  # type: ignore[misc]
    """Raised by our own methods: an error that goes to the caller as it is."""


class _PatientWriter(_MessageWriter):  # type: ignore[misc]
    """Waits for a full socket buffer to drain instead of taking EAGAIN for the end of the connection."""

    buf: memoryview | None

    def schedule_write(self, msg: Message | None = None, future: "asyncio.Future[None] | None" = None) -> None:
        if self.bus.is_shut:  # the number of its descriptor may be another connection's by now
            if future:
                future.set_exception(BusGoneError("the connection is closed"))
                future.exception()  # nobody has to look
            return
        super().schedule_write(msg, future)

    def write_callback(self) -> None:
        sock = self.sock
        try:
            while True:
                if self.buf is None:
                    if self.messages.qsize() == 0:
                        self.loop.remove_writer(self.fd)
                        return
                    buf, fds, future = self.messages.get_nowait()
                    self.unix_fds, self.buf, self.offset, self.fut = fds, memoryview(buf), 0, future
                self.offset += sock.send(self.buf[self.offset :])
                if self.offset >= len(self.buf):
                    self.buf = None
                    if self.fut and not self.fut.done():
                        self.fut.set_result(None)
        except (BlockingIOError, InterruptedError):
            return  # the loop calls again when there is room
        except OSError as error:
            self.bus._finalize(error)


class _AuthAs(AuthExternal):  # type: ignore[misc]
    """EXTERNAL as another uid: a user's bus knows its own user only, and behind a gate that user is who connects."""

    def __init__(self, uid: int) -> None:
        super().__init__()
        self._uid = uid

    def _authentication_start(self, negotiate_unix_fd: bool = False) -> str:
        self.negotiate_unix_fd = negotiate_unix_fd
        return f"AUTH EXTERNAL {str(self._uid).encode().hex()}"

    def _receive_line(self, line: str) -> str:
        response, _ = _AuthResponse.parse(line)
        if response is _AuthResponse.OK:
            return "BEGIN"
        raise BusGoneError(f"the bus does not accept uid {self._uid}: {line}")


class _Reply:
    """Answers one method call; used as a context around the method. Callers get our own errors word for word, and of
    anything else neither text nor traceback: those may name what callers must not know."""

    def __init__(self, bus: MessageBus, call: Message) -> None:
        self._bus = bus
        self._message = call

    def __call__(self, reply: Message) -> None:
        if not self._message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._bus.send(reply)

    def __enter__(self) -> "_Reply":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        if isinstance(error, _LibraryError):
            # What is echoed of a caller's argument may be as long as that.
            self(Message.new_error(self._message, error.type, error.text[:_LONGEST]))
        elif isinstance(error, asyncio.CancelledError):
            text = "tinyci is stopping; ask again when it is back"
            self(Message.new_error(self._message, "org.tinyci1.Error.ShuttingDown", text))
        else:
            log.error("%s of a D-Bus caller failed", self._message.member, exc_info=error, extra=_DEFECT)
            text = "an internal error, see the journal of tinyci.service"
            self(Message.new_error(self._message, "org.freedesktop.DBus.Error.Failed", text))
        return True

    def send_error(self, error: Exception) -> None:
        self.__exit__(type(error), error, None)


class _Connection(MessageBus):  # type: ignore[misc]
    """dbus-next's connection over a socket that is connected already."""

    _unmarshaller: Any

    def __init__(self, sock: socket.socket, auth: AuthExternal) -> None:
        self._connected_socket = sock
        self.is_shut = False
        self._rest: asyncio.Handle | None = None
        super().__init__(bus_address="unix:path=/", bus_type=BusType.SYSTEM, auth=auth)
        self._writer = _PatientWriter(self)

    def _setup_socket(self) -> None:
        self._sock = self._connected_socket
        self._stream = self._sock.makefile("rwb")
        self._fd = self._sock.fileno()

    async def _auth_readline(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            data = await self._loop.sock_recv(self._sock, 1)
            if not data:  # the library would ask again for ever, and never let the loop run
                raise EOFError("closed during authentication")
            line += data
            if len(line) > 4096:
                raise EOFError("not the D-Bus authentication protocol")
        return line[:-2].decode("ascii", "replace")

    def _message_reader(self) -> None:
        """Some messages per turn: whoever sends without end must not keep the loop from everything else."""
        if self.is_shut:
            return
        if self._rest:
            self._rest.cancel()
        self._rest = None
        try:
            for _ in range(_PER_TURN):
                if not self._unmarshaller.unmarshall():
                    return
                self._on_message(self._unmarshaller.message)
                self._unmarshaller = self._create_unmarshaller()
        except Exception as error:  # whatever the library makes of garbage ends the connection
            self._finalize(error)
            return
        # What is left may be in the stream's buffer, where the loop does not see it.
        self._rest = self._loop.call_soon(self._message_reader)

    def _finalize(self, err: BaseException | None = None) -> None:
        if not self.is_shut:
            super()._finalize(err)

    def _send_reply(self, msg: Message) -> _Reply:
        return _Reply(self, msg)

    def _introspect_export_path(self, path: str) -> Any:
        """As the library does it, but it takes every path that has the text of this one in it for a child, and offers
        the ObjectManager everywhere."""
        node = super()._introspect_export_path(path)
        below = path.rstrip("/") + "/"
        children = {each.removeprefix(below).partition("/")[0] for each in self._path_exports if each.startswith(below)}
        if not children and path not in self._path_exports:
            raise ReplyError("org.freedesktop.DBus.Error.UnknownObject", f"there is no object {path[:200]}")
        node.nodes = [Node(name) for name in sorted(children)]
        node.interfaces = [each for each in node.interfaces if each.name != "org.freedesktop.DBus.ObjectManager"]
        return node

    def _default_get_managed_objects_handler(self, msg: Message, send_reply: _Reply) -> None:
        """Refused: with the output of every job the answer is megabytes, made and written in one blocking go."""
        raise ReplyError("org.freedesktop.DBus.Error.UnknownMethod", "no ObjectManager is offered; ask for ListJobs")

    def _emit_interface_added(self, path: str, interface: ServiceInterface) -> None:
        """Nothing: the library would broadcast all properties from the wrong path. JobNew and JobRemoved tell."""

    def _emit_interface_removed(self, path: str, removed_interfaces: list[str]) -> None:
        """Nothing, as above."""


class Bus:
    """One connection. Made by connect(), used until gone() and then thrown away."""

    def __init__(self, bus: _Connection) -> None:
        self._bus = bus
        self._gone = asyncio.Event()
        self._waits = asyncio.ensure_future(self._watch())

    @classmethod
    async def connect(cls, address: str = SYSTEM_BUS, uid: int | None = None) -> "Bus":
        """Connect, authenticate and say Hello, as `uid` behind a gate. Raises BusGone, also when it takes too long.

        `address` is a `unix:path=` address.
        """
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        bus, made = None, None
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.get_running_loop().sock_connect(sock, address.removeprefix("unix:path="))
                bus = _Connection(sock, _AuthAs(os.getuid() if uid is None else uid))
                await bus.connect()
            if not str(bus.unique_name).startswith(":"):
                raise ValueError("its answer to Hello is no name")
            made = cls(bus)
            return made
        except TimeoutError:
            raise BusGoneError(f"{address} did not answer within {TIMEOUT:g} s") from None
        except Exception as error:  # whatever the library makes of a peer that is no bus
            raise BusGoneError(f"cannot connect to {address}: {error or type(error).__name__}") from None
        finally:
            if bus is None:
                sock.close()
            elif made is None:
                _close(bus)

    async def _watch(self) -> None:
        # However the connection ends, gone() must say so.
        with suppress(Exception):
            await self._bus.wait_for_disconnect()
        self._gone.set()
        _close(self._bus)

    async def gone(self) -> None:
        """Return when the connection is lost."""
        await self._gone.wait()

    @property
    def connected(self) -> bool:
        return not self._gone.is_set() and bool(self._bus.connected)

    async def close(self) -> None:
        if not self._gone.is_set():
            with suppress(Exception):
                self._bus.disconnect()
        self._waits.cancel()
        with suppress(asyncio.CancelledError):
            await self._waits
        self._gone.set()
        _close(self._bus)

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: Any,
        timeout: float = TIMEOUT,
        interactive: bool = False,
    ) -> list[Any]:
        """The reply's arguments. Raises BusError for an error reply, BusGone when no reply came.

        `interactive`: whether polkit may ask a person on our account before the peer does it.
        """
        if not self.connected:
            raise BusGoneError("the connection is closed")
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else MessageFlag.NONE,
        )
        # A reply that never comes because the connection went is not noticed by the library: race it with the end.
        reply = asyncio.ensure_future(self._bus.call(message))
        end = asyncio.ensure_future(self._gone.wait())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait((reply, end), return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                raise BusGoneError(f"the connection was lost during {member}")
            answer = reply.result()
        except TimeoutError:
            raise BusGoneError(f"{member} was not answered within {timeout:g} s") from None
        except BusGoneError:
            raise
        except Exception as error:  # garbage from the peer ends the connection, in many forms
            raise BusGoneError(f"the connection was lost during {member}: {error or type(error).__name__}") from None
        finally:
            reply.cancel()
            end.cancel()
        if answer is None:
            raise BusGoneError(f"the connection was lost during {member}")
        if answer.message_type is MessageType.ERROR:
            text = str(answer.body[0]) if answer.body else ""
            raise BusError(answer.error_name, text)
        return list(answer.body)

    async def user_of(self, name: str) -> int:
        """The uid of who owns a name."""
        return int((await self.call(*_DBUS, "GetConnectionUnixUser", "s", name))[0])

    async def match(self, rule: str) -> None:
        """Ask the bus for the signals of a match rule."""
        await self.call(*_DBUS, "AddMatch", "s", rule)

    def on_signal(self, handler: Callable[[str, str, str, list[Any]], None]) -> None:
        """Call handler(path, interface, member, arguments) for each signal. Install it before the first call whose
        outcome is a signal: that may be dispatched before the caller has seen the reply."""

        def dispatch(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL:
                try:
                    handler(message.path, message.interface, message.member, message.body)
                except Exception:  # a peer's strange arguments must not end the connection
                    log.exception("signal %s of %s", message.member, message.interface, extra=_DEFECT)

        self._bus.add_message_handler(dispatch)

    async def own(self, name: str) -> None:
        """Own a well-known name, or raise BusError. Not queued: two daemons at once would be one too many."""
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await self._bus.request_name(name, NameFlag.DO_NOT_QUEUE)
        except _LibraryError as error:
            raise BusError(error.type, f"cannot own {name}: {error.text}") from None
        except TimeoutError:
            raise BusGoneError(f"the bus did not answer the request for {name}") from None
        if reply not in (RequestNameReply.PRIMARY_OWNER, RequestNameReply.ALREADY_OWNER):
            raise BusError("org.freedesktop.DBus.Error.Failed", f"{name} is owned by another process")

    def export(self, path: str, interface: ServiceInterface) -> None:
        self._bus.export(path, interface)

    def unexport(self, path: str) -> None:
        self._bus.unexport(path)

    def remember_callers(self) -> None:
        """From now on caller() works. Before the first export()."""

        def remember(message: Message) -> None:  # a true result would mean "handled"
            _current.set(message)

        self._bus.add_message_handler(remember)


class Caller(NamedTuple):
    """Who calls one of our methods."""

    name: str
    """Unique name on the bus, never given to another."""
    interactive: bool
    """Whether polkit may ask a person (ALLOW_INTERACTIVE_AUTHORIZATION)."""


def caller() -> Caller:
    """Who calls the method that runs now."""
    message = _current.get()
    if message is None:
        raise LookupError("no method call is being handled")
    return Caller(message.sender, bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION))


def _close(bus: MessageBus) -> None:
    """What the library leaves open: the loop's callbacks, the socket and the file over it."""
    loop = asyncio.get_running_loop()
    bus.is_shut = True
    if bus._sock.fileno() >= 0:
        loop.remove_reader(bus._fd)
        loop.remove_writer(bus._fd)
    bus._sock.close()
    with suppress(OSError, ValueError):  # it flushes what nobody will read
        bus._stream.close()
