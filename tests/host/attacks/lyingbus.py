"""A bus that an app's user puts in the place of its own: it lets everybody in, and tells no truth.

`lyingbus.py SOCKET` says of every name that `:1.0` owns it, and returns nothing to whatever else is asked.
`lyingbus.py SOCKET silent` does not even say who owns a name. It needs nothing but Python, as an app's user has it.
"""

import os
import socket
import struct
import sys
import threading
from contextlib import suppress

METHOD_CALL, METHOD_RETURN = 1, 2
MEMBER, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = 3, 5, 6, 7, 8
NO_REPLY = 1
OWN_NAME, CALLER_NAME = ":1.0", ":1.1"


def padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def reply(number: int, serial: int, sender: str, value: str) -> bytes:
    """A method return with a string, or without anything when `value` is empty."""
    header = struct.pack("<B3sI", REPLY_SERIAL, b"\1u\0", serial)
    for code, name in ((DESTINATION, CALLER_NAME), (SENDER, sender)):
        header = padded(header, 8) + struct.pack("<B3s", code, b"\1s\0") + text(name)
    if value:
        header = padded(header, 8) + struct.pack("<B3s", SIGNATURE, b"\1g\0") + b"\1s\0"
    body = text(value) if value else b""
    start = struct.pack("<c3BIII", b"l", METHOD_RETURN, 0, 1, len(body), number, len(header))
    return padded(start + header, 8) + body


def log_in(lines) -> None:  # type: ignore[no-untyped-def]
    """Let in whoever asks, without the passing of descriptors."""
    while line := lines.readline().lstrip(b"\0"):
        if line.startswith(b"BEGIN"):
            return
        lines.write(b"OK 0123456789abcdef0123456789abcdef\r\n" if line.startswith(b"AUTH") else b"ERROR\r\n")
        lines.flush()


def serve(connection: socket.socket, is_silent: bool) -> None:  # noqa: FBT001
    stream = connection.makefile("rwb")
    log_in(stream)
    number = 0
    while len(start := stream.read(16)) == 16:
        order = "<" if start[:1] == b"l" else ">"
        body_size, serial, fields_size = struct.unpack(f"{order}III", start[4:])
        fields = stream.read(fields_size + -fields_size % 8)
        stream.read(body_size)
        if start[1] != METHOD_CALL or start[2] & NO_REPLY:
            continue
        is_of_bus, number, value = b"org.freedesktop.DBus\0" in fields, number + 1, ""
        if b"\0Hello\0" in fields:
            value = CALLER_NAME
        elif b"\0GetNameOwner\0" in fields and not is_silent:
            value = OWN_NAME
        stream.write(reply(number, serial, "org.freedesktop.DBus" if is_of_bus else OWN_NAME, value))
        stream.flush()


def guarded(connection: socket.socket, is_silent: bool) -> None:  # noqa: FBT001
    with suppress(OSError):  # they hung up
        serve(connection, is_silent)


def main(path: str, *mode: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        while True:
            threading.Thread(target=guarded, args=(listening.accept()[0], "silent" in mode), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
