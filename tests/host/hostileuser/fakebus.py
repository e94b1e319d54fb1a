"""In the place of the user's bus: one that lies, hangs or floods, by turns: python3 fakebus.py SOCKET COUNTS.

Each connection has the next of these manners. The gate connects for the daemon, which so meets all of them.
"""

import itertools
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path

import wire
from counts import Counts

MANAGER = "/org/freedesktop/systemd1"
SYSTEMD = "org.freedesktop.systemd1"
OWNER = ":1.0"
LONG = "x" * 3_900_000
"""As long as the daemon just reads."""


def reply(call: wire.Head, serial: int, signature: str = "", body: bytes = b"") -> bytes:
    return wire.message(wire.RETURN, serial, reply_to=call.serial, sender=OWNER, signature=signature, body=body)


def removal(serial: int) -> bytes:
    """The end of a job, as a manager signals it."""
    job = f"{MANAGER}/job/{serial % 1000}"
    unit = f"tinyci-build@{serial:032x}.service"
    body = (serial % 1000).to_bytes(4, "little") + wire.strings(job, unit, "failed")
    interface = f"{SYSTEMD}.Manager"
    return wire.message(
        wire.SIGNAL,
        serial,
        path=MANAGER,
        interface=interface,
        member="JobRemoved",
        sender=OWNER,
        signature="uoss",
        body=body,
    )


def change(serial: int) -> bytes:
    """A change of properties, of a unit that nobody knows."""
    body = wire.string(f"{SYSTEMD}.Unit")
    body += bytes(-len(body) % 4) + bytes(4)
    body += bytes(-len(body) % 8) + bytes(4)
    return wire.message(
        wire.SIGNAL,
        serial,
        path=f"{MANAGER}/unit/u{serial % 100000}",
        interface="org.freedesktop.DBus.Properties",
        member="PropertiesChanged",
        sender=OWNER,
        signature="sa{sv}as",
        body=body,
    )


def lie(call: wire.Head, serial: int) -> bytes:
    """Answer a question: with what fits, nothing, another type, a text without end, or a path to nowhere."""
    match random.randrange(6):
        case 0:
            return reply(call, serial)
        case 1:
            return reply(call, serial, "u", b"\xff\xff\xff\xff")
        case 2:
            return reply(call, serial, "s", wire.string(LONG))
        case 3:
            return reply(call, serial, "o", wire.string(f"{MANAGER}/job/{serial}"))
        case 4:
            return reply(call, serial, "a{sv}", bytes(4) + bytes(4))
        case _:
            name = f"{SYSTEMD}.NoSuchUnit"
            text = wire.string("y" * 100_000)
            return wire.message(
                wire.ERROR, serial, error_name=name, reply_to=call.serial, sender=OWNER, signature="s", body=text
            )


def answer(call: wire.Head, serial: int) -> bytes:
    """Answer the questions that every client has at first as a bus does, so that it goes on to those it came for."""
    if b"\0Hello\0" in call.rest:
        return reply(call, serial, "s", wire.string(":1.1"))
    if b"\0GetNameOwner\0" in call.rest:
        return reply(call, serial, "s", wire.string(OWNER))
    if b"\0AddMatch\0" in call.rest or b"\0Subscribe\0" in call.rest:
        return reply(call, serial)
    return lie(call, serial)


class Guest:
    """One connection to the bus."""

    def __init__(self, connection: socket.socket, counts: Counts) -> None:
        self.connection = connection
        self.counts = counts
        self._serials = itertools.count(1)
        self._writing = threading.Lock()

    def liar(self) -> None:
        wire.accept(self.connection)
        for call in wire.messages(self.connection):
            if call.kind == wire.CALL and not call.flags & wire.NO_REPLY_EXPECTED:
                self._send(answer(call, next(self._serials)))
                self.counts.add("lies")

    def hanger(self) -> None:
        if random.randrange(2):
            wire.accept(self.connection)
        self.counts.add("hangs")
        while self.connection.recv(65536):
            pass

    def flooder(self) -> None:
        wire.accept(self.connection)
        for call in wire.messages(self.connection):
            if call.kind == wire.CALL and not call.flags & wire.NO_REPLY_EXPECTED:
                self._send(answer(call, next(self._serials)))
            if b"\0GetNameOwner\0" in call.rest:
                threading.Thread(target=self._flood, daemon=True).start()

    def _flood(self) -> None:
        try:
            while True:
                self._send(b"".join(kind(next(self._serials)) for _ in range(250) for kind in (removal, change)))
                self.counts.add("signals", 500)
        except OSError:
            pass

    def _send(self, data: bytes) -> None:
        with self._writing:
            self.connection.sendall(data)


def serve(guest: Guest, manner: str) -> None:
    try:
        getattr(guest, manner)()
    except OSError:
        pass
    finally:
        guest.connection.close()


def end_gate() -> None:
    """Kill the user's own gate, so that the daemon connects anew."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.getuid() and (process / "comm").read_text() == "xdg-dbus-proxy\n":
                os.kill(int(process.name), 9)
        except OSError:
            pass


def end_gate_often(seconds: float) -> None:
    while True:
        time.sleep(seconds)
        end_gate()


def main() -> None:
    path, counts = sys.argv[1], Counts(sys.argv[2])
    os.rename(path, f"{path}.real")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(100)
    threading.Thread(target=end_gate_often, args=(20,), daemon=True).start()
    for manner in itertools.cycle(("liar", "hanger", "flooder")):
        connection, _ = listener.accept()
        counts.add("connections to the bus")
        threading.Thread(target=serve, args=(Guest(connection, counts), manner), daemon=True).start()


if __name__ == "__main__":
    main()
