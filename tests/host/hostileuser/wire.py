"""Messages of D-Bus as bytes, with no library between: what is wrong on purpose has to arrive as it is."""

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SENDER, _SIGNATURE = range(1, 9)
NO_REPLY_EXPECTED = 1


class Head(NamedTuple):
    """The part of a message that tells what it is."""

    kind: int
    flags: int
    serial: int
    rest: bytes
    """The other fields, as they came."""
    body: bytes


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def strings(*texts: str) -> bytes:
    """The body of a message whose arguments are these texts."""
    body = b""
    for text in texts:
        body = _padded(body, 4) + string(text)
    return body


def _padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def message(
    kind: int,
    serial: int,
    *,
    path: str = "",
    interface: str = "",
    member: str = "",
    error_name: str = "",
    reply_to: int = 0,
    destination: str = "",
    sender: str = "",
    signature: str = "",
    body: bytes = b"",
) -> bytes:
    fields = b""
    texts = (
        (_PATH, "o", path),
        (_INTERFACE, "s", interface),
        (_MEMBER, "s", member),
        (_ERROR_NAME, "s", error_name),
        (_DESTINATION, "s", destination),
        (_SENDER, "s", sender),
    )
    for code, kind_of_text, text in texts:
        if text:
            fields = _padded(fields, 8) + bytes([code, 1, ord(kind_of_text), 0]) + string(text)
    if reply_to:
        fields = _padded(fields, 8) + bytes([_REPLY_SERIAL, 1, ord("u"), 0]) + struct.pack("<I", reply_to)
    if signature:
        fields = _padded(fields, 8) + bytes([_SIGNATURE, 1, ord("g"), 0, len(signature)]) + signature.encode() + b"\0"
    head = struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), serial, len(fields)) + fields
    return _padded(head, 8) + body


def messages(connection: socket.socket) -> Iterator[Head]:
    """Read what comes, until the other side ends it."""
    with connection.makefile("rb") as stream:
        while len(start := stream.read(16)) == 16:
            order = "<" if start[:1] == b"l" else ">"
            body_size, serial, fields_size = struct.unpack(f"{order}III", start[4:])
            rest = stream.read(fields_size + -fields_size % 8)
            yield Head(start[1], start[2], serial, rest, stream.read(body_size))


def connect(path: str) -> socket.socket:
    """Connect to a bus as this user, and say Hello."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    if not connection.recv(1000).startswith(b"OK"):
        raise ConnectionError("the bus does not let this user in")
    name = "org.freedesktop.DBus"
    hello = message(CALL, 1, path="/org/freedesktop/DBus", interface=name, member="Hello", destination=name)
    connection.sendall(b"BEGIN\r\n" + hello)
    return connection


def accept(connection: socket.socket) -> None:
    """Let in whoever connects, as a bus does. Raises ConnectionError."""
    line = b""
    while True:
        if not (data := connection.recv(1)):
            raise ConnectionError("closed")
        line += data
        if not line.endswith(b"\r\n"):
            continue
        if b"AUTH" in line:
            connection.sendall(b"OK 1234deadbeef1234deadbeef12345678\r\n")
        elif line.startswith(b"BEGIN"):
            return
        else:
            connection.sendall(b"ERROR\r\n")
        line = b""
