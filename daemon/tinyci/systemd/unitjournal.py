"""The journal of one unit: its last lines. Source: systemd.journal-fields(7)."""

import asyncio

from systemd import journal

from tinyci.systemd.journal import decode, field, news_event

_LINE_MAX = 1000
"""Characters of a line."""


async def last_lines(unit: str, uid: int, since: float, most: int = 20, patience: float = 1.0) -> list[str]:
    """Return the last lines of a unit's journal, oldest first: its processes' and containers', and the manager's on it.

    `uid` is that of the manager's user, 0 for the system's manager; `since` is in seconds since the epoch. journald may
    be a moment behind: when there is nothing yet, it has `patience` seconds.
    """
    with journal.Reader() as reader:
        _add_matches(reader, unit, uid)
        with news_event(reader) as news:
            try:
                async with asyncio.timeout(patience):
                    while not (lines := _read_back(reader, since, most)):
                        news.clear()
                        await news.wait()
                        reader.process()
            except TimeoutError:
                lines = _read_back(reader, since, most)
    return lines


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
    reader.seek_tail()
    while len(lines) < most and reader._previous() and reader._get_realtime() >= since * 1_000_000:
        if not field(reader, "PODMAN_EVENT"):  # podman's own account of what it does
            lines.append(decode(field(reader, "MESSAGE"))[:_LINE_MAX])
    return lines[::-1]
