"""A connection to a message bus: calls, signals, our objects on it, and its end."""

import asyncio
import contextvars
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from dbus_next import Message, MessageFlag, MessageType, Variant
from dbus_next.constants import NameFlag, PropertyAccess, RequestNameReply
from dbus_next.errors import DBusError
from dbus_next.service import ServiceInterface, dbus_property, method, signal

from tinyci import catalog
from tinyci.dbus import names, patches
from tinyci.dbus.errors import BusError, BusGoneError
from tinyci.dbus.turnstile import Cost, Turnstile

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

_TEXT_MAX = 1000
"""Characters of an error that are taken from a peer."""

_DEFECT = {"MESSAGE_ID": catalog.DEFECT}

log = logging.getLogger(__name__)

# The message that is being handled; methods inherit it, so caller() can tell who sent it.
_current: contextvars.ContextVar[Message | None] = contextvars.ContextVar("current", default=None)


class ReplyError(DBusError):  # type: ignore[misc]
    """An error that a method of ours raises, and that goes to the caller word for word."""


class Bus:
    """One connection. connect() makes it; after wait_closed() it is thrown away."""

    def __init__(self, connection: patches.Connection) -> None:
        self._connection = connection
        self._end = asyncio.Event()
        self._turnstile: Turnstile | None = None
        self._watcher = asyncio.ensure_future(self._watch())
        self._rules: Counter[str] = Counter()
        """Match rules of matching(), with the number of their contexts."""
        self._calls: set[asyncio.Future[Message | None] | None] = set()
        """Answers that are awaited."""

    @classmethod
    async def connect(
        cls, address: str = SYSTEM_BUS, uid: int | None = None, properties: Collection[str] | None = None
    ) -> "Bus":
        """Connect, authenticate and say Hello, as `uid` behind a gate.

        `address` is a `unix:path=` address. Of properties that others send, those named `properties` are read, or all.
        Raises BusGoneError, also when it takes longer than TIMEOUT.
        """
        wanted = None if properties is None else frozenset(name.encode() for name in properties)
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        connection, bus = None, None
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.get_running_loop().sock_connect(sock, address.removeprefix("unix:path="))
                authenticator = patches.UidAuthenticator(os.getuid() if uid is None else uid)
                connection = patches.Connection(sock, authenticator, wanted)
                await connection.connect()
            if not str(connection.unique_name).startswith(":"):
                raise ValueError("its answer to Hello is no name")
            bus = cls(connection)
            return bus
        except TimeoutError:
            raise BusGoneError(f"{address} did not answer within {TIMEOUT:g} s") from None
        except Exception as error:  # whatever the library makes of a peer that is no bus
            raise BusGoneError(f"cannot connect to {address}: {error or type(error).__name__}") from None
        finally:
            if connection is None:
                sock.close()
            elif bus is None:
                patches.close(connection)

    async def _watch(self) -> None:
        # However the connection ends, wait_closed() must return.
        with suppress(Exception):
            await self._connection.wait_for_disconnect()
        self._note_end()

    async def wait_closed(self) -> None:
        """Return when the connection is lost or closed."""
        await self._end.wait()

    @property
    def connected(self) -> bool:
        return not self._end.is_set() and bool(self._connection.connected)

    async def close(self) -> None:
        if not self._end.is_set():
            with suppress(Exception):
                self._connection.disconnect()
        if self._turnstile:
            self._turnstile.close()
        self._watcher.cancel()
        with suppress(asyncio.CancelledError):
            await self._watcher
        self._note_end()

    def _note_end(self) -> None:
        """Let nobody wait any longer: the library notices no reply that never comes because the connection went."""
        self._end.set()
        for reply in self._calls:
            if reply and not reply.done():
                reply.set_result(None)
        patches.close(self._connection)

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
        returns: str | None = None,
    ) -> list[Any]:
        """Call a method and return the arguments of its reply.

        `timeout` is in seconds. With `interactive`, polkit may ask a person for a password before the peer acts. Raises
        BusError for an error reply and for one of another signature than `returns`, BusGoneError when no reply came.
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
        reply: asyncio.Future[Message | None] | None = None
        try:
            async with asyncio.timeout(timeout):
                self._calls.add(reply := self._connection.ask(message))
                answer = await reply
        except TimeoutError:
            raise BusGoneError(f"{member} was not answered within {timeout:g} s") from None
        except Exception as error:  # garbage from the peer ends the connection, in many forms
            raise BusGoneError(f"the connection was lost during {member}: {error or type(error).__name__}") from None
        finally:
            self._calls.discard(reply)
        if answer is None:
            raise BusGoneError(f"the connection was lost during {member}")
        if answer.message_type is MessageType.ERROR:
            text = str(answer.body[0])[:_TEXT_MAX] if answer.body else ""
            raise BusError(str(answer.error_name)[:_TEXT_MAX], text)
        if returns is not None and answer.signature != returns:
            text = f"{member} was answered with {answer.signature[:100]!r}, and not with {returns!r}"
            raise BusError(names.INVALID_SIGNATURE, text)
        return list(answer.body)

    async def user_of(self, name: str) -> int:
        """Return the uid of the owner of a name on the bus."""
        return int((await self.call(*names.BUS, "GetConnectionUnixUser", "s", name, returns="u"))[0])

    async def match(self, rule: str) -> None:
        """Ask the bus for the signals of a match rule (D-Bus Specification, "Match Rules")."""
        await self.call(*names.BUS, "AddMatch", "s", rule)

    @asynccontextmanager
    async def matching(self, rule: str) -> AsyncIterator[None]:
        """Ask the bus for the signals of a match rule within the context. Contexts with one rule share it.

        Raises BusError and BusGoneError as call() does.
        """
        self._rules[rule] += 1
        try:
            if self._rules[rule] == 1:  # who comes next asks nothing before this was asked
                await self.match(rule)
            yield
        finally:
            self._rules[rule] -= 1
            if not self._rules[rule]:
                del self._rules[rule]
                self._unmatch(rule)

    def _unmatch(self, rule: str) -> None:
        """Remove a rule, and await no answer: nobody could do anything about a refusal."""
        if self.connected:
            destination, path, interface = names.BUS
            self._connection.send(
                Message(
                    destination=destination,
                    path=path,
                    interface=interface,
                    member="RemoveMatch",
                    signature="s",
                    body=[rule],
                    flags=MessageFlag.NO_REPLY_EXPECTED,
                )
            )

    def on_signal(self, handler: Callable[[str, str, str, list[Any]], None]) -> None:
        """Call handler(path, interface, member, arguments) for each signal, whoever sent it: believe none of them.

        Install it before the first call whose outcome is a signal: the signal may be dispatched before the caller has
        seen the reply.
        """

        def dispatch(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL:
                try:
                    handler(message.path, message.interface, message.member, message.body)
                except Exception:  # a peer's strange arguments must not end the connection
                    log.exception("signal %s of %s", message.member, message.interface, extra=_DEFECT)

        self._connection.add_message_handler(dispatch)

    async def listen(self, name: str, handler: Callable[[str, str, str, list[Any]], None]) -> None:
        """Call handler(path, interface, member, arguments) for each signal of the owner of a well-known name.

        Everybody on a bus may send a signal to this connection alone, whatever it has asked for, so those of others are
        dropped. The owner is followed: a manager that is re-executed has another connection. Raises BusError, also when
        nobody owns the name, and BusGoneError.
        """
        bus_name, bus_path, bus_interface = names.BUS
        owner: str | None = None

        def dispatch(message: Message) -> None:
            nonlocal owner
            if message.message_type is not MessageType.SIGNAL:
                return
            if message.sender == bus_name:
                source = (message.path, message.interface, message.member, message.signature)
                if source == (bus_path, bus_interface, "NameOwnerChanged", "sss") and message.body[0] == name:
                    owner = message.body[2]
            elif owner and message.sender == owner:
                try:
                    handler(message.path, message.interface, message.member, message.body)
                except Exception:  # a peer's strange arguments must not end the connection
                    log.exception("signal %s of %s", message.member, message.interface, extra=_DEFECT)

        self._connection.add_message_handler(dispatch)
        await self.match(
            f"type='signal',sender='{bus_name}',interface='{bus_interface}',member='NameOwnerChanged',arg0='{name}'"
        )
        reply = await self.call(*names.BUS, "GetNameOwner", "s", name)
        if owner is None:  # else it has changed since the reply, and this is the one before
            owner = str(reply[0]) if reply else ""

    async def own(self, name: str) -> None:
        """Own a well-known name, or raise BusError. It is not queued for: two daemons at once would be one too many."""
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await self._connection.request_name(name, NameFlag.DO_NOT_QUEUE)
        except DBusError as error:
            raise BusError(error.type, f"cannot own {name}: {error.text}") from None
        except TimeoutError:
            raise BusGoneError(f"the bus did not answer the request for {name}") from None
        if reply not in (RequestNameReply.PRIMARY_OWNER, RequestNameReply.ALREADY_OWNER):
            raise BusError(names.FAILED, f"{name} is owned by another process")

    def export(self, path: str, interface: ServiceInterface) -> None:
        self._connection.export(path, interface)

    def unexport(self, path: str) -> None:
        self._connection.unexport(path)

    def pause(self) -> float:
        """Return the seconds until those at the other end may cost something again; 0 if they may now."""
        return self._connection.pace.pause()

    def admit_callers(self, cost_of: Callable[[str, str], Cost]) -> None:
        """Answer calls of others from now on, few of each caller at once; let caller() work. To be called before the
        first export(). `cost_of(interface, member)`: the cost of a method."""
        connection, admitted = self._connection, None

        def take(message: Message) -> bool:  # True means that it is handled
            if message.message_type is not MessageType.METHOD_CALL:
                return False
            if message is admitted:
                _current.set(message)
                return False
            turnstile.enter(message)
            return True

        def admit(message: Message) -> None:
            nonlocal admitted
            admitted = message
            with connection.pace.spending():
                connection._on_message(message)

        def refuse(message: Message, sentence: str) -> None:
            if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
                connection.send(Message.new_error(message, names.LIMITS_EXCEEDED, sentence))

        turnstile = Turnstile(
            admit,
            refuse,
            self.user_of,
            lambda message: cost_of(str(message.interface), str(message.member)),
            self.pause,
        )
        self._turnstile = turnstile
        connection.on_answer = turnstile.leave
        connection.add_message_handler(take)


class Caller(NamedTuple):
    """The sender of a method call to us."""

    name: str
    """Unique name on the bus, never given to another."""
    interactive: bool
    """True if polkit may ask a person (ALLOW_INTERACTIVE_AUTHORIZATION)."""


def caller() -> Caller:
    """Return the caller of the method that runs now. Raises LookupError outside of one."""
    message = _current.get()
    if message is None:
        raise LookupError("no method call is being handled")
    return Caller(message.sender, bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION))
