"""The journal of one unit: its last lines. Source: systemd.journal-fields(7)."""

import asyncio
import time

from systemd import journal

from tinyci.runtime import clock
from tinyci.systemd.journal import decode, field

_LINE_MAX = 1000
"""Characters of a line."""
_MOST_ENTRIES = 5000
"""Entries that are looked at, podman's account included: anybody's user may fill his unit's journal with it."""
_LOOK_AGAIN = 0.2
"""Seconds between two looks while there is nothing."""


async def last_lines(unit: str, uid: int, age: float, most: int = 20, patience: float = 1.0) -> list[str]:
    """Return the last lines of a unit's journal, oldest first: its processes' and containers', and the manager's on it.

    `uid` is that of the manager's user, 0 for the system's manager; lines are of the last `age` seconds, and of this
    boot. journald may be a moment behind: when there is nothing yet, it has `patience` seconds. A journal that cannot
    be read is a line.

    Each look is a thread's, with a reader of its own: who may write of this unit can make one take long.
    """
    since = time.monotonic() - age
    end = time.monotonic() + patience
    while True:
        try:
            lines = await asyncio.to_thread(_read_last, unit, uid, since, most)
        except OSError as error:
            return [f"[tinyci: the journal cannot be read: {error.strerror or error}]"]
        if lines or time.monotonic() >= end:
            return lines
        await asyncio.sleep(_LOOK_AGAIN)


def _read_last(unit: str, uid: int, since: float, most: int) -> list[str]:
    with journal.Reader() as reader:
        _add_matches(reader, unit, uid)
        return _read_back(reader, since, most)


def _add_matches(reader: journal.Reader, unit: str, uid: int) -> None:
    # A process that ended right after its line has no unit by the time that journald looks: hence the identifier,
    # which Quadlet and systemd set to the unit's name.
    name = f"SYSLOG_IDENTIFIER={unit.rpartition('.')[0]}"
    alternatives: list[tuple[str, ...]] = [
        (f"_SYSTEMD_USER_UNIT={unit}", f"_SYSTEMD_OWNER_UID={uid}"),
        (f"USER_UNIT={unit}", f"_UID={uid}"),
        (name, f"_UID={uid}"),
    ]
    if not uid:
        alternatives = [(f"_SYSTEMD_UNIT={unit}",), (f"UNIT={unit}", "_PID=1"), (name, "_UID=0")]
    for number, matches in enumerate(alternatives):
        if number:
            reader.add_disjunction()
        for match in matches:
            reader.add_match(match)


def _read_back(reader: journal.Reader, since: float, most: int) -> list[str]:
    lines: list[str] = []
    boot_id = bytes.fromhex(clock.moment().boot_id)
    reader.seek_tail()
    for _ in range(_MOST_ENTRIES):
        if len(lines) == most or not reader._previous():
            break
        microseconds, boot = reader._get_monotonic()  # the time of day may have been set since
        if bytes(boot) != boot_id or microseconds < since * 1_000_000:
            break
        if not field(reader, "PODMAN_EVENT"):  # podman's own account of what it does
            lines.append(decode(field(reader, "MESSAGE"))[:_LINE_MAX])
    return lines[::-1]
