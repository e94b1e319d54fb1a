"""Expenses of a job, counted by the kernel, the user's message bus and Redis: no clock is asked."""

import io
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dbus_next import Message, MessageType
from dbus_next._private.unmarshaller import Unmarshaller
from testhost import REDIS, TestHost
from throwawayhost import HOSTS

_PROCESSES, _MESSAGES = "/var/tmp/tinyci-test-processes", "/var/tmp/tinyci-test-messages"
_MONITOR = "tinyci-test-monitor"
_RECORD = struct.Struct("<BBHIIIIIIf8H16s")
"""acct(5), version 3."""
_FILE_HEADER, _MESSAGE_HEADER = struct.Struct("<24s"), struct.Struct("<8sII")
"""Those of pcap files."""
_ACCOUNT = "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).acct(sys.argv[1].encode() or None))'"
"""acct(2), which counts in its own PID namespace alone; an empty name ends it."""


class Budget(NamedTuple):
    """Limits of expenses, each with room for what a run may add: another wakeup, a signal that says no more."""

    processes: int
    calls: int
    bytes: int
    round_trips: int


@dataclass
class Expenses:
    """The number of things that were done for a job."""

    processes: Counter[str] = field(default_factory=Counter)
    """Processes of the repo's user that have ended, by their names."""
    calls: Counter[str] = field(default_factory=Counter)
    """Calls by the daemon over the user's bus, by method."""
    bytes: int = 0
    """Size of the answers to the daemon, and of the signals that it may hear."""
    redis_commands: Counter[str] = field(default_factory=Counter)
    """Commands of everybody."""
    round_trips: int = 0
    """Number of times that Redis read what somebody asks."""

    def __str__(self) -> str:
        lines = (
            ("processes", self.processes.total(), self.processes),
            ("D-Bus calls", self.calls.total(), self.calls),
            ("Redis commands", self.redis_commands.total(), self.redis_commands),
        )
        text = "".join(f"{total} {what}: {dict(counter.most_common())}\n" for what, total, counter in lines)
        return f"{text}{self.bytes} bytes over the user's bus, {self.round_trips} round trips to Redis"

    def check(self, budget: Budget) -> None:
        """Print the expenses, and fail if one is over the budget."""
        print(self)
        total = Budget(self.processes.total(), self.calls.total(), self.bytes, self.round_trips)
        for name, count, limit in zip(Budget._fields, total, budget, strict=True):
            assert count <= limit, f"{name}: {count} are more than the {limit} of the budget\n{self}"


@contextmanager
def expenses(server: TestHost, user: str) -> Iterator[Expenses]:
    """Count what is done for a job of the user's while the block runs; until nothing is left of it."""
    total = Expenses()
    uid = int(server.sh(f"id -u {user}"))
    _, reads = _redis(server)
    commands_before, reads_before = _redis(server)
    own_reads = reads_before - reads  # of one question
    with _monitor(server, uid):
        server.sh(f": >{_PROCESSES}; {_ACCOUNT} {_PROCESSES}")
        try:
            yield total
            polls = int(server.sh(_UNTIL_CLEARED, limit=30))
        finally:
            server.sh(f"{_ACCOUNT} ''")
        commands, reads = _redis(server)
    total.redis_commands = commands - commands_before - _questions(polls)
    total.round_trips = reads - reads_before - own_reads * (polls + 1)
    total.processes = _processes(server, uid)
    _add_messages(server, total, _gate_names(server, uid))
    server.sh(f"rm {_PROCESSES} {_MESSAGES}")


_UNTIL_CLEARED = (
    f"polls=1; until [ $({REDIS} llen tinyci:accepted) = 0 ]; do polls=$((polls + 1)); sleep 0.2; done; echo $polls"
)


def _questions(polls: int) -> Counter[str]:
    """Return the commands of our own questions."""
    return Counter({"auth": polls + 1, "llen": polls, "info": 1})


def _redis(server: TestHost) -> tuple[Counter[str], int]:
    """Return the calls of each command, and how often Redis has read."""
    lines = [line.partition(":") for line in server.redis("info everything")]
    stats = {key: value for key, _, value in lines}
    calls = {
        key.removeprefix("cmdstat_"): int(value.partition("calls=")[2].partition(",")[0])
        for key, value in stats.items()
        if key.startswith("cmdstat_")
    }
    return Counter(calls), int(stats["total_reads_processed"])


@contextmanager
def _monitor(server: TestHost, uid: int) -> Iterator[None]:
    """Record all messages of the user's bus while the block runs."""
    bus = f"unix:path=/run/user/{uid}/bus"
    server.sh(
        f"rm -f {_MESSAGES}; systemd-run -q --unit {_MONITOR} --uid {uid} -p StandardOutput=file:{_MESSAGES} "
        f"dbus-monitor --address {bus} --pcap\n"
        # What it writes first is the bus' word that it listens.
        f"timeout 10 sh -c 'until [ -s {_MESSAGES} ]; do sleep 0.05; done'"
    )
    try:
        yield
    finally:
        server.sh(f"systemctl stop {_MONITOR}")


def _file(server: TestHost, path: str) -> bytes:
    return Path(f"{HOSTS / server.name}/root{path}").read_bytes()


def _processes(server: TestHost, uid: int) -> Counter[str]:
    """Return how many processes of the user's have ended, by their names."""
    records = _RECORD.iter_unpack(_file(server, _PROCESSES))
    return Counter(record[-1].rstrip(b"\0").decode() for record in records if record[4] == uid)


def _gate_names(server: TestHost, uid: int) -> set[str]:
    """Return the names that the bus has given to the gate: each is a connection of the daemon's."""
    bus = f"setpriv --reuid {uid} --clear-groups busctl --address=unix:path=/run/user/{uid}/bus list --no-legend"
    return {line.split()[0] for line in server.sh(bus).splitlines() if "xdg-dbus-proxy" in line}


def _add_messages(server: TestHost, total: Expenses, gate: set[str]) -> None:
    for message, size in _messages(_file(server, _MESSAGES)):
        if message.message_type is MessageType.METHOD_CALL and message.sender in gate:
            total.calls[message.member] += 1
        elif message.destination in gate or (message.message_type is MessageType.SIGNAL and not message.destination):
            total.bytes += size


def _messages(data: bytes) -> Iterator[tuple[Message, int]]:
    """Yield each message of a pcap file with its size."""
    offset = _FILE_HEADER.size
    while offset < len(data):
        _, size, _ = _MESSAGE_HEADER.unpack_from(data, offset)
        offset += _MESSAGE_HEADER.size
        yield Unmarshaller(io.BytesIO(data[offset : offset + size])).unmarshall(), size
        offset += size
