"""The journal of one unit: its last lines. Source: systemd.journal-fields(7)."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from systemd import journal

from tinyci.model import text
from tinyci.runtime import clock
from tinyci.systemd.journal import decode, field

_LINE_MAX = 1000
"""Characters of a line."""
_MOST_ENTRIES = 5000
"""Entries that are looked at, podman's account included: anybody's user may fill his unit's journal with it."""
_LOOK_AGAIN = 0.2
"""Seconds between two looks while there is nothing."""
# sd-messages(3): "Stopping ..." when a unit that ran is told to stop, "Stopped ..." when it has.
_STOPPING = b"de5b426a63be47a7b6ac3eaac82e2f6f"
_STOPPED = b"9d1aaa27d60140bd96365438aad20286"
# Lines in the name of a unit that tell nobody anything: empty ones, the id that `podman run --detach` prints, and
# complaints of conmon's.
_OF_PODMAN = re.compile(r"\s*([0-9a-f]{64}\s*|conmon [0-9a-f]{20} <.*)?", re.ASCII | re.DOTALL)
# Lines of the manager's that tell more than the properties of the unit do.
_OF_USE = re.compile(r"skipped\b.* condition|Failed at step|nable to locate|Failed to (?!start )")


class UnitLine(NamedTuple):
    """A line of a unit's journal."""

    text: str
    is_own: bool = True
    """False if the manager wrote it about the unit."""


async def last_lines(
    unit: str, uid: int, main_pid: int, age: float, most: int = 20, patience: float = 1.0
) -> list[UnitLine]:
    """Return the last lines of a unit's journal, oldest first: its processes' and containers', and the manager's on it.

    `uid` is that of the manager's user, 0 for the system's manager; `main_pid` that of the unit's main process, or 0.
    Lines are of the last `age` seconds, of this boot, and since the unit was told to stop: those before are of an older
    version. journald may be a moment behind: when there is none of its own yet, it has `patience` seconds. A journal
    that cannot be read is a line.

    Each look is a thread's, with a reader of its own: who may write of this unit can make one take long.
    """
    since = time.monotonic() - age
    end = time.monotonic() + patience
    while True:
        try:
            lines = await asyncio.to_thread(_read_last, (unit, uid, main_pid), since, most)
        except OSError as error:
            return [UnitLine(f"[tinyci: the journal cannot be read: {error.strerror or error}]", is_own=False)]
        if any(line.is_own for line in lines) or time.monotonic() >= end:
            return lines
        await asyncio.sleep(_LOOK_AGAIN)


def last_words(unit: str, lines: Sequence[UnitLine]) -> str:
    """Return the end of a sentence with what a unit printed last, or else with what its manager knows; or nothing."""
    if words := text.last_words([line.text for line in lines if line.is_own]):
        return f"; {unit} printed last: {words}"
    words = text.last_words([line.text for line in lines if not line.is_own and _OF_USE.search(line.text)])
    return f"; systemd says: {words}" if words else ""


def _read_last(about: tuple[str, int, int], since: float, most: int) -> list[UnitLine]:
    with journal.Reader() as reader:
        _add_matches(reader, *about)
        return _read_back(reader, since, most)


def _add_matches(reader: journal.Reader, unit: str, uid: int, main_pid: int) -> None:
    # A process that ended right after its line has no unit by the time that journald looks: hence its number, and the
    # identifier, which Quadlet and systemd set to the unit's name.
    name = f"SYSLOG_IDENTIFIER={unit.rpartition('.')[0]}"
    alternatives: list[tuple[str, ...]] = [
        (f"_SYSTEMD_USER_UNIT={unit}", f"_SYSTEMD_OWNER_UID={uid}"),
        (f"USER_UNIT={unit}", f"_UID={uid}"),
        (name, f"_UID={uid}"),
    ]
    if not uid:
        alternatives = [(f"_SYSTEMD_UNIT={unit}",), (f"UNIT={unit}", "_PID=1"), (name, "_UID=0")]
    if main_pid:
        alternatives.append((f"_PID={main_pid}",) if not uid else (f"_PID={main_pid}", f"_UID={uid}"))
    for number, matches in enumerate(alternatives):
        if number:
            reader.add_disjunction()
        for match in matches:
            reader.add_match(match)


def _read_back(reader: journal.Reader, since: float, most: int) -> list[UnitLine]:
    lines: list[UnitLine] = []  # the newest first
    count_since_stop = None
    boot_id = bytes.fromhex(clock.moment().boot_id)
    reader.seek_tail()
    for _ in range(_MOST_ENTRIES):
        if not reader._previous():
            break
        microseconds, boot = reader._get_monotonic()  # the time of day may have been set since
        if bytes(boot) != boot_id or microseconds < since * 1_000_000:
            break
        message_id = field(reader, "MESSAGE_ID")
        if message_id == _STOPPING and count_since_stop:
            del lines[count_since_stop:]
            break
        if message_id == _STOPPED:
            count_since_stop = len(lines)
        is_own = not (field(reader, "USER_UNIT") or field(reader, "UNIT"))
        line = decode(field(reader, "MESSAGE")).rstrip("\r\n")[:_LINE_MAX]
        is_podmans = field(reader, "PODMAN_EVENT") or _OF_PODMAN.fullmatch(line)  # its account of what it does
        if len(lines) < most and not is_podmans:
            lines.append(UnitLine(line, is_own))
    return lines[::-1]
