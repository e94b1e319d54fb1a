"""A connection of dbus-next, with the defects of that library covered.

dbus-next 0.2.3 drops the connection when the socket's buffer is full, never answers a call whose connection is gone,
sends tracebacks to callers, connects blocking in its constructor and leaves its socket open. Bus.call() meets the lost
answer, this file the others; the package's `__init__.py` keeps the library from importing GLib.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any

from dbus_next import Message, MessageFlag
from dbus_next.aio.message_bus import MessageBus, _MessageWriter
from dbus_next.auth import AuthExternal, _AuthResponse
from dbus_next.constants import BusType
from dbus_next.errors import AuthError, DBusError
from dbus_next.introspection import Node
from dbus_next.service import ServiceInterface
from dbus_next.signature import SignatureTree

from tinyci import catalog
from tinyci.dbus import names
from tinyci.dbus.messagereader import MessageReader
from tinyci.runtime.pace import Pace

_TURN = 0.005
"""Seconds of the processor that the messages of one connection take in one go."""
_BURST = 0.25
_SHARE = 0.1
"""A connection with more messages than fit into a turn may take so many seconds of the processor at once, and so much
of it in the long run: whoever asks without end is not to keep the daemon from its deploys."""
_SIGNATURES_MAX = 1000
_ERROR_MAX = 1000
"""Characters of an error that are sent to a caller."""

log = logging.getLogger(__name__)


class SignatureCache(dict[str, SignatureTree]):
    """Parsed signatures, some at a time: the library keeps each one that any peer has ever used."""

    def __setitem__(self, signature: str, tree: SignatureTree) -> None:
        if len(self) >= _SIGNATURES_MAX:
            self.clear()
        super().__setitem__(signature, tree)


SignatureTree._cache = SignatureCache()


class PatientWriter(_MessageWriter):  # type: ignore[misc]
    """A writer that writes at once, and waits for a full socket buffer to drain: the library takes EAGAIN for the end
    of the connection."""

    buf: memoryview | None
    is_waiting = False
    """True while the loop tells when there is room."""

    def buffer_message(self, msg: Message, future: "asyncio.Future[None] | None" = None) -> None:
        with self.bus.pace.spending():
            super().buffer_message(msg, future)

    def schedule_write(self, msg: Message | None = None, future: "asyncio.Future[None] | None" = None) -> None:
        if self.bus.is_shut:  # the number of its descriptor may be another connection's by now
            if future:
                future.set_exception(ConnectionError("the connection is closed"))
                future.exception()  # nobody has to look
            return
        if msg is not None:
            self.buffer_message(msg, future)
        if self.bus.unique_name and not self.is_waiting:  # nothing is sent before Hello
            self.write_callback()

    def write_callback(self) -> None:
        sock = self.sock
        try:
            while True:
                if self.buf is None:
                    if self.messages.empty():
                        if self.is_waiting:
                            self.loop.remove_writer(self.fd)
                            self.is_waiting = False
                        return
                    buf, fds, future = self.messages.get_nowait()
                    self.unix_fds, self.buf, self.offset, self.fut = fds, memoryview(buf), 0, future
                self.offset += sock.send(self.buf[self.offset :])
                if self.offset >= len(self.buf):
                    self.buf = None
                    if self.fut and not self.fut.done():
                        self.fut.set_result(None)
        except (BlockingIOError, InterruptedError):
            if not self.is_waiting:
                self.loop.add_writer(self.fd, self.write_callback)
                self.is_waiting = True
        except OSError as error:
            self.bus._finalize(error)


class UidAuthenticator(AuthExternal):  # type: ignore[misc]
    """EXTERNAL as another uid: a user's bus lets in its own user alone, and a gate connects as that user."""

    def __init__(self, uid: int) -> None:
        super().__init__()
        self._uid = uid

    def _authentication_start(self, *, negotiate_unix_fd: bool = False) -> str:
        self.negotiate_unix_fd = negotiate_unix_fd
        return f"AUTH EXTERNAL {str(self._uid).encode().hex()}"

    def _receive_line(self, line: str) -> str:
        response, _ = _AuthResponse.parse(line)
        if response is _AuthResponse.OK:
            return "BEGIN"
        raise AuthError(f"the bus does not accept uid {self._uid}: {line}")


class Reply:
    """The answer to one method call, and a context around the method. A caller gets our own errors word for word, but
    neither text nor traceback of any other: these may name what callers must not know."""

    def __init__(self, bus: "Connection", call: Message) -> None:
        self._bus = bus
        self._message = call
        self._is_given = False

    def __call__(self, reply: Message) -> None:
        if not self._is_given:
            self._is_given = True
            self._bus.on_answer(self._message)
        if not self._message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._bus.send(reply)

    def __enter__(self) -> "Reply":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        if isinstance(error, DBusError):
            # What is echoed of a caller's argument may be as long as that.
            self(Message.new_error(self._message, error.type, error.text[:_ERROR_MAX]))
        elif isinstance(error, asyncio.CancelledError):
            text = "tinyci is stopping; ask again when it is back"
            self(Message.new_error(self._message, names.SHUTTING_DOWN, text))
        else:
            log.error(
                "%s of a D-Bus caller failed",
                self._message.member,
                exc_info=error,
                extra={"MESSAGE_ID": catalog.DEFECT},
            )
            text = "an internal error, see the journal of tinyci.service"
            self(Message.new_error(self._message, names.FAILED, text))
        return True

    def send_error(self, error: Exception) -> None:
        self.__exit__(type(error), error, None)


class Connection(MessageBus):  # type: ignore[misc]
    """dbus-next's connection over a socket that is connected already."""

    _unmarshaller: Any

    def __init__(self, sock: socket.socket, auth: AuthExternal, wanted: frozenset[bytes] | None = None) -> None:
        """`wanted`: the names of properties that are read, of all that the peers send; None for all."""
        self._connected_socket = sock
        self._wanted = wanted
        self.is_shut = False
        self.on_answer: Callable[[Message], object] = lambda call: None
        """Called when a call of somebody else has its answer."""
        self.pace = Pace(_BURST, _SHARE)
        self._next_turn: asyncio.Handle | None = None
        self._paths: dict[ServiceInterface, str] = {}
        """By interface that is exported: its object."""
        super().__init__(bus_address="unix:path=/", bus_type=BusType.SYSTEM, auth=auth)
        self._writer = PatientWriter(self)

    def ask(self, call: Message) -> "asyncio.Future[Message | None]":
        """Send a call, and return its answer to be; it is None if the connection ends before.

        The library's own way examines the signature of a function for each call, and runs a task.
        """
        answer: asyncio.Future[Message | None] = self._loop.create_future()

        def take(reply: Message | None, error: Exception | None) -> None:
            if answer.done():
                return
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(reply)

        self.send(call)
        self._method_return_handlers[call.serial] = take
        return answer

    def _setup_socket(self) -> None:
        self._sock = self._connected_socket
        self._stream = self._sock.makefile("rwb")
        self._fd = self._sock.fileno()

    def _create_unmarshaller(self) -> MessageReader:
        return MessageReader(self._stream, self._wanted)

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
        """Read some messages per turn: a peer that sends without end must not keep the loop from everything else."""
        if self.is_shut:
            return
        self._cancel_turn()
        end = time.thread_time() + _TURN
        try:
            with self.pace.spending():
                while time.thread_time() < end:
                    if not self._unmarshaller.unmarshall():
                        return
                    self._on_message(self._unmarshaller.message)
                    self._unmarshaller = self._create_unmarshaller()
        except Exception as error:  # whatever the library makes of garbage ends the connection
            self._finalize(error)
            return
        # What is left may be in the stream's buffer, where the loop does not see it.
        if pause := self.pace.pause():
            self._loop.remove_reader(self._fd)
            self._next_turn = self._loop.call_later(pause, self._resume)
        else:
            self._next_turn = self._loop.call_soon(self._message_reader)

    def _resume(self) -> None:
        if not self.is_shut:
            self._loop.add_reader(self._fd, self._message_reader)
            self._message_reader()

    def _cancel_turn(self) -> None:
        if self._next_turn:
            self._next_turn.cancel()
        self._next_turn = None

    def _finalize(self, err: BaseException | None = None) -> None:
        if not self.is_shut:
            super()._finalize(err)

    def _make_method_handler(self, interface: ServiceInterface, method: Any) -> Any:
        """Take the work of a method off the account, also that after it has waited for others."""
        if not asyncio.iscoroutinefunction(function := method.fn):
            return super()._make_method_handler(interface, method)

        async def run(*arguments: Any) -> Any:
            return await self.pace.spent_on(function(*arguments))

        method = copy(method)
        method.fn = run
        return super()._make_method_handler(interface, method)

    def _send_reply(self, msg: Message) -> Reply:
        return Reply(self, msg)

    def _introspect_export_path(self, path: str) -> Any:
        """Describe an object. The library takes every path that has the text of this one in it for a child, and offers
        an ObjectManager everywhere."""
        node = super()._introspect_export_path(path)
        below = path.rstrip("/") + "/"
        children = {each.removeprefix(below).partition("/")[0] for each in self._path_exports if each.startswith(below)}
        if not children and path not in self._path_exports:
            raise DBusError(names.UNKNOWN_OBJECT, f"there is no object {path[:200]}")
        node.nodes = [Node(name) for name in sorted(children)]
        node.interfaces = [each for each in node.interfaces if each.name != names.OBJECT_MANAGER]
        return node

    def _default_get_managed_objects_handler(self, msg: Message, send_reply: Reply) -> None:
        """Refuse: with the output of every job the answer is megabytes, made and written in one blocking go."""
        raise DBusError(names.UNKNOWN_METHOD, "no ObjectManager is offered; ask for ListJobs")

    def export(self, path: str, interface: ServiceInterface) -> None:
        super().export(path, interface)
        self._paths[interface] = path

    def unexport(self, path: str, interface: ServiceInterface | str | None = None) -> None:
        for each in self._path_exports.get(path, ()):
            self._paths.pop(each, None)
        super().unexport(path, interface)

    def _has_interface(self, interface: ServiceInterface) -> bool:
        return interface in self._paths

    def _interface_signal_notify(
        self, interface: ServiceInterface, name: str, member: str, signature: str, body: list[Any], *_: object
    ) -> None:
        """Send a signal of an object. The library looks through all objects for the path of this one."""
        path = self._paths[interface]
        self.send(Message.new_signal(path=path, interface=name, member=member, signature=signature, body=body))

    def _emit_interface_added(self, path: str, interface: ServiceInterface) -> None:
        """Send nothing: the library would broadcast all properties, from the wrong path. We send JobNew, JobRemoved."""

    def _emit_interface_removed(self, path: str, removed_interfaces: list[str]) -> None:
        """Send nothing, as above."""


def close(connection: Connection) -> None:
    """Close what the library leaves open: the loop's callbacks, the socket and the file over it."""
    loop = asyncio.get_running_loop()
    connection.is_shut = True
    if connection._sock.fileno() >= 0:
        loop.remove_reader(connection._fd)
        loop.remove_writer(connection._fd)
    connection._sock.close()
    with suppress(OSError, ValueError):  # it flushes what nobody will read
        connection._stream.close()
