"""Entries of the journal, as fast as they go, from several processes: python3 journalflood.py COUNTS.

Some are of a level at which journald writes to the disk at once (journald.conf(5), SyncIntervalSec=).
"""

import os
import socket
import sys

from counts import Counts

PROCESSES = 4
TEXT = "flood " * 30


def flood(path: str) -> None:
    counts = Counts(path)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.connect("/run/systemd/journal/socket")
    number = 0
    while True:
        number += 1
        level = 2 if number % 100 == 0 else 6
        journal.send(f"PRIORITY={level}\nSYSLOG_IDENTIFIER=flood\nMESSAGE={number} {TEXT}\n".encode())
        counts.add("entries")


def main() -> None:
    for process in range(PROCESSES - 1):
        if os.fork() == 0:
            flood(f"{sys.argv[1]}.{process}")
    flood(sys.argv[1])


if __name__ == "__main__":
    main()
