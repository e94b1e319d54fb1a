"""The other end of a connection to a bus, in a thread of its own, that says anything; and values of all D-Bus types."""

import contextlib
import io
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import TEXT
from dbus_next import Message, MessageType
from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.signature import SignatureTree, SignatureType, Variant
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Answer = Callable[[Message], list[Message | bytes]]

NAME = ":1.1"
"""Of whoever is connected."""
OWNER = ":1.7"
"""Owner of every well-known name."""
BUS = "org.freedesktop.DBus"


class Peer:
    """A bus at a socket. It answers as a bus does, and for everybody else on it as the test says."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix:path={path}"
        self.answer: Answer = lambda call: [Message.new_method_return(call)]
        self._serial = 0
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        for each in (self._server, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._connections.append(connection)
                with contextlib.suppress(OSError, EOFError), connection:
                    self._speak(connection)
                self._connections.remove(connection)

    def _speak(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while not (line := stream.readline()).endswith(b"BEGIN\r\n"):
                if not line:
                    return
                connection.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            while True:
                call = _read(stream)
                for message in self._answers(call):
                    connection.sendall(message if isinstance(message, bytes) else self._packed(message))

    def _answers(self, call: Message) -> list[Message | bytes]:
        if call.destination != BUS:
            return self.answer(call)
        reply = {"Hello": ("s", [NAME]), "GetNameOwner": ("s", [OWNER]), "GetConnectionUnixUser": ("u", [0])}
        message = Message.new_method_return(call, *reply.get(call.member, ("", [])))
        message.sender = BUS
        return [message]

    def _packed(self, message: Message) -> bytes:
        self._serial += 1
        message.serial = self._serial
        return with_sender(bytes(message._marshall()), message.sender or OWNER)


def with_sender(message: bytes, sender: str) -> bytes:
    """Add the header field that a bus adds, and the library does not pack (D-Bus Specification, "Message Format")."""
    end = 16 + int.from_bytes(message[12:16], "little")
    fields, body = message[16:end], message[-(-end // 8) * 8 :]
    fields += bytes(-len(fields) % 8) + b"\x07\x01s\0" + len(sender).to_bytes(4, "little") + sender.encode() + b"\0"
    return message[:12] + len(fields).to_bytes(4, "little") + fields + bytes(-len(fields) % 8) + body


def _read(stream: Any) -> Message:
    """Read one message as the library packs it. Raises EOFError."""
    head = stream.read(16)
    if len(head) < 16:
        raise EOFError
    fields, body = int.from_bytes(head[12:16], "little"), int.from_bytes(head[4:8], "little")
    rest = stream.read(-(-fields // 8) * 8 + body)
    message: Message = Unmarshaller(io.BytesIO(head + rest)).unmarshall()
    return message


# -- values ------------------------------------------------------------------------------------------------------------

_INTEGERS = {"y": (0, 8), "n": (1, 15), "q": (0, 16), "i": (1, 31), "u": (0, 32), "x": (1, 63), "t": (0, 64)}
"""By type: 1 if it is signed, and its bits without the sign."""
PATHS = st.sampled_from(["/", "/a", "/org/freedesktop/systemd1/job/77", "/org/freedesktop/systemd1/unit/web_2eservice"])
STRINGS = TEXT.map(lambda text: text.encode("utf-8", "replace").decode().replace("\0", "")) | st.sampled_from(
    [
        "loaded",
        "active",
        "inactive",
        "failed",
        "activating",
        "deactivating",
        "stopping",
        "done",
        "succeeded",
        "building",
    ]
)
BASIC = st.sampled_from([*"ybnqiuxtdsog"])
SIGNATURES = st.recursive(
    BASIC | st.just("v"),
    lambda inner: st.one_of(
        inner.map(lambda each: f"a{each}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: f"({''.join(each)})"),
        st.tuples(BASIC, inner).map(lambda each: f"a{{{each[0]}{each[1]}}}"),
    ),
    max_leaves=4,
)
USUAL = st.sampled_from(
    ["a{sv}", "a(sssso)", "a(sssasas)", "sass", "sbaa{ss}", "(bba{ss})", "o", "s", "v", "as", "b", "(uo)"]
)


def values(type_: SignatureType) -> SearchStrategy[Any]:
    """Values of one type, as the library takes them."""
    match type_.token:
        case "b":
            return st.booleans()
        case "d":
            return st.floats()
        case "s":
            return STRINGS
        case "o":
            return PATHS
        case "g":
            return SIGNATURES.map(lambda signature: signature[:50] if len(signature) < 50 else "s")
        case "v":
            return variants(2)
        case "(":
            return st.tuples(*map(values, type_.children)).map(list)
        case "a" if type_.children[0].token == "{":
            key, value = type_.children[0].children
            return st.dictionaries(values(key).filter(lambda each: each == each), values(value), max_size=4)
        case "a" if type_.children[0].token == "y":
            return st.binary(max_size=20)
        case "a":
            return st.lists(values(type_.children[0]), max_size=4)
    sign, bits = _INTEGERS[type_.token]
    return st.integers(-(2**bits) * sign, 2**bits - 1)


def variants(depth: int = 3) -> SearchStrategy[Variant]:
    simple = (BASIC | st.sampled_from(["ay", "as", "(uo)"])).flatmap(_variant)
    return simple if depth < 3 else simple | SIGNATURES.flatmap(_variant)


def _variant(signature: str) -> SearchStrategy[Variant]:
    (type_,) = SignatureTree(signature).types
    return values(type_).map(lambda value: Variant(signature, value))


def bodies_of(signature: str) -> SearchStrategy[tuple[str, list[Any]]]:
    """Bodies of exactly that signature."""
    types = SignatureTree(signature).types
    return st.tuples(*map(values, types)).map(lambda body: (signature, list(body)))


BODIES = st.one_of(
    USUAL.flatmap(bodies_of),
    st.lists(SIGNATURES, max_size=3).map("".join).filter(lambda each: len(each) < 100).flatmap(bodies_of),
)
"""Signatures and bodies of replies, of any shape and of usual ones."""


def reply(call: Message, content: tuple[str, list[Any]]) -> Message:
    return Message.new_method_return(call, *content)


def is_signal(message: Message) -> bool:
    return bool(message.message_type is MessageType.SIGNAL)
