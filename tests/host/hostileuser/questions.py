"""1,000 questions to org.tinyci1 that are open at any time: python3 questions.py COUNTS REPO [BUS].

Each connection asks as many at once as the bus lets wait for their answers (max_replies_per_connection), and the next
ones when those are answered.
"""

import random
import sys
import threading
import uuid

import wire
from counts import Counts

BUS = "/run/dbus/system_bus_socket"
NAME, PATH = "org.tinyci1", "/org/tinyci1"
MANAGER = f"{NAME}.Manager"
CONNECTIONS, AT_ONCE = 8, 125
FALSE = bytes(4)


class Asker:
    """One connection with its questions."""

    def __init__(self, bus: str, repo: str, counts: Counts) -> None:
        self._repo = repo
        self._counts = counts
        self._connection = wire.connect(bus)
        self._serial = 1
        self._job_paths: list[str] = []

    def run(self) -> None:
        replies = wire.messages(self._connection)
        self._ask("ListJobs")
        waiting = 2  # with Hello's
        for reply in replies:
            if reply.kind not in (wire.RETURN, wire.ERROR):
                continue
            self._counts.add("questions answered" if reply.kind == wire.RETURN else "questions refused")
            for piece in reply.body.split(b"\0"):
                begin = piece.find(f"{PATH}/job/_".encode())
                if begin >= 0 and len(self._job_paths) < 100:
                    self._job_paths.append(piece[begin:].decode())
            waiting -= 1
            if not waiting:
                for _ in range(AT_ONCE):
                    self._ask_something()
                waiting = AT_ONCE

    def _ask_something(self) -> None:
        job = random.choice(self._job_paths or [PATH])
        match random.randrange(10):
            case 0:
                self._ask("ListJobs")
            case 1:
                self._ask("ListRepos")
            case 2:
                self._ask("GetJob", "s", wire.string(str(uuid.uuid4())))
            case 3:
                self._ask("Diagnose", "s", wire.string(self._repo))
            case 4:
                self._ask("Diagnose", "s", wire.string(""))
            case 5:
                self._ask("ReadEvents", "sb", wire.strings("0-0") + bytes(-len(wire.strings("0-0")) % 4) + FALSE)
            case 6:
                position = wire.strings("")
                body = position + bytes(-len(position) % 4) + FALSE
                self._call(job, f"{NAME}.Job", "ReadOutput", "sb", body)
            case 7:
                self._call(job, "org.freedesktop.DBus.Properties", "GetAll", "s", wire.string(f"{NAME}.Job"))
            case 8:
                self._call(PATH, "org.freedesktop.DBus.Introspectable", "Introspect")
            case _:
                self._ask("Cancel", "s", wire.string(str(uuid.uuid4())))

    def _ask(self, member: str, signature: str = "", body: bytes = b"") -> None:
        self._call(PATH, MANAGER, member, signature, body)

    def _call(self, path: str, interface: str, member: str, signature: str = "", body: bytes = b"") -> None:
        self._serial += 1
        self._connection.sendall(
            wire.message(
                wire.CALL,
                self._serial,
                path=path,
                interface=interface,
                member=member,
                destination=NAME,
                signature=signature,
                body=body,
            )
        )


def ask_for_ever(bus: str, repo: str, counts: Counts) -> None:
    while True:
        try:
            asker = Asker(bus, repo, counts)
            print("asking", flush=True)
            asker.run()
        except OSError:
            counts.add("connections for questions lost")


def main() -> None:
    counts, repo = Counts(sys.argv[1]), sys.argv[2]
    bus = sys.argv[3] if len(sys.argv) > 3 else BUS
    for _ in range(CONNECTIONS):
        threading.Thread(target=ask_for_ever, args=(bus, repo, counts)).start()


if __name__ == "__main__":
    main()
