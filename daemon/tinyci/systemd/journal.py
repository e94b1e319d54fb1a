"""The journal: logging to it, and following what one unit prints.

Source: systemd.journal-fields(7), sd_journal_get_data(3), systemd-journald.service(8).
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack

from systemd import journal

_PER_TURN = 2000
_LOOK_AGAIN = 3.0
"""Seconds after which one looks for lines that nothing has told of: once in some hundred builds, on a busy machine, the
first ones were seen only when somebody else logged something, 20 s later."""


class JournalError(Exception):
    """The journal cannot be read; one sentence."""


class _Handler(journal.JournalHandler):  # type: ignore[misc]
    """Sends the message and our own fields, and not, as the library's does, every attribute of the record: log
    arguments would reach the journal a second time, in clear, beside the message that was written with care."""

    def __init__(self, identifier: str) -> None:
        super().__init__()
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        fields = {key: value for key, value in record.__dict__.items() if key.startswith(("TINYCI_", "MESSAGE_ID"))}
        if record.exc_info:
            fields["EXCEPTION_TEXT"] = logging.Formatter().formatException(record.exc_info)
        try:
            journal.send(
                _sendable(self.format(record)),
                PRIORITY=str(self.map_priority(record.levelno)),
                SYSLOG_IDENTIFIER=self._identifier,
                LOGGER=record.name,
                CODE_FILE=record.pathname,
                CODE_LINE=record.lineno,
                CODE_FUNC=record.funcName,
                **{key: _sendable(value) for key, value in fields.items()},
            )
        except OSError:
            self.handleError(record)


def _sendable(text: str) -> str:
    """Without what has no UTF-8: names of refs may be of any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def log_to_journal(identifier: str = "tinyci", level: int = logging.INFO) -> None:
    """Send all logging to the journal, with the fields that callers give as `extra=fields(…)`."""
    handler = _Handler(identifier)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def fields(job: str = "", repo: str = "", unit: str = "", state: str = "", message_id: str = "") -> dict[str, str]:
    """Fields of a log record: `extra=fields(job=…)`."""
    given = {
        "TINYCI_JOB": job,
        "TINYCI_REPO": repo,
        "TINYCI_UNIT": unit,
        "TINYCI_STATE": state,
        "MESSAGE_ID": message_id,
    }
    return {key: value for key, value in given.items() if value}


def check_readable() -> None:
    """Raise JournalError when this process may not read the journal: a reader without permission is only empty."""
    with journal.Reader(flags=journal.SYSTEM_ONLY) as reader:
        reader.seek_head()
        if not reader.get_next():
            raise JournalError(
                "the journal cannot be read: expected SupplementaryGroups=systemd-journal in tinyci.service"
            )


class Lines:
    """What one run of a unit prints, line by line, between a first and a last line of its own.

    Lines are text: bytes that are not UTF-8 come as `\\xNN`, and what journald broke up for its length (LineMax=,
    journald.conf(5)) is joined again up to `longest` bytes. It also drops empty lines, and ends a line where another
    process writes on; that is as `journalctl` shows it, and cannot be told from two lines.

    The first line is found by its text and the sender's uid, both indexed and always there; it tells the stream
    (_STREAM_ID), which all lines of the unit share. The invocation id would not do: journald looks a sender's unit
    up when it handles the line, and a process that printed and ended in a moment has none by then.
    """

    def __init__(self, first: str, last: str, uid: int, longest: int = 1 << 20) -> None:
        self._first = first
        self._last = last
        self._uid = uid
        self._joiner = Joiner(longest)

    async def follow(self, ended: asyncio.Event, patience: float) -> AsyncIterator[list[str]]:
        """Lists of lines as they come, without the first and the last one.

        A unit can be over well before journald has stored what it printed, so after `ended` is set the last line
        is still awaited, as long as others keep coming, and for `patience` seconds when none do (a killed unit
        does not print it).
        """
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            reader = stack.enter_context(journal.Reader())
            reader.data_threshold = 0  # else fields are cut at 64 KiB
            woken = asyncio.Event()
            loop.add_reader(reader.fileno(), woken.set)
            stack.callback(loop.remove_reader, reader.fileno())
            found = False
            while True:
                woken.clear()
                reader.process()  # before reading: what comes later wakes us again
                found = found or self._find(reader)
                complete: bool | None = not found
                while not complete:
                    # Some per turn: a chatty build must not hold up the other deploys.
                    lines, complete = self._read(reader)
                    if lines:
                        yield lines
                    if complete is None:
                        return
                    await asyncio.sleep(0)
                if ended.is_set():
                    try:
                        async with asyncio.timeout(patience):
                            await woken.wait()
                    except TimeoutError:
                        if rest := self._joiner.rest():
                            yield rest
                        return
                else:
                    await _either(woken, ended)

    def _find(self, reader: journal.Reader) -> bool:
        """Point the reader at the stream that begins with our first line, if that is stored already."""
        reader.flush_matches()
        reader.add_match(f"MESSAGE={self._first}")
        reader.add_match(f"_UID={self._uid}")
        reader.seek_head()
        if not reader._next():
            return False
        stream = _field(reader, "_STREAM_ID").decode()
        reader.flush_matches()
        reader.add_match(f"_STREAM_ID={stream}")
        reader.seek_head()
        return True

    def _read(self, reader: journal.Reader) -> tuple[list[str], bool | None]:
        """Some lines, and whether that was all that is stored now (True), or all that will come (None)."""
        lines: list[str] = []
        for _ in range(_PER_TURN):
            # The private calls fetch two fields; the public one decodes all thirty, five times slower.
            if not reader._next():
                return lines, True
            broken = _field(reader, "_LINE_BREAK") == b"line-max"
            for line in self._joiner.add(_field(reader, "MESSAGE"), broken):
                if line == self._last:
                    return lines, None
                if line != self._first:
                    lines.append(line)
        return lines, False


async def said_last(unit: str, uid: int, since: float, most: int = 20, patience: float = 1.0) -> list[str]:
    """The last lines of a unit's journal since then (seconds since the epoch), oldest first: what its processes and
    containers printed, and what the manager says of it. `uid`: whose manager runs it, 0 for the system's.

    journald may be a moment behind; when there is nothing yet, it has `patience` seconds.
    """
    with journal.Reader() as reader:
        for number, matches in enumerate(_of_unit(unit, uid)):
            if number:
                reader.add_disjunction()
            for match in matches:
                reader.add_match(match)
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(reader.fileno(), woken.set)
        try:
            async with asyncio.timeout(patience):
                while not (lines := _last(reader, since, most)):
                    woken.clear()
                    await woken.wait()
                    reader.process()
        except TimeoutError:
            lines = _last(reader, since, most)
        finally:
            loop.remove_reader(reader.fileno())
    return lines


def _of_unit(unit: str, uid: int) -> list[tuple[str, ...]]:
    # A process that ended right after its line has no unit by the time that journald looks: hence the identifier,
    # which Quadlet and systemd set to the unit's name.
    name = f"SYSLOG_IDENTIFIER={unit.rpartition('.')[0]}"
    if not uid:
        return [(f"_SYSTEMD_UNIT={unit}",), (f"UNIT={unit}", "_PID=1"), (name, "_UID=0")]
    return [
        (f"_SYSTEMD_USER_UNIT={unit}", f"_SYSTEMD_OWNER_UID={uid}"),
        (f"USER_UNIT={unit}", f"_UID={uid}"),
        (name, f"_UID={uid}"),
    ]


def _last(reader: journal.Reader, since: float, most: int) -> list[str]:
    lines: list[str] = []
    reader.seek_tail()
    while len(lines) < most and reader._previous() and reader._get_realtime() >= since * 1_000_000:
        if not _field(reader, "PODMAN_EVENT"):  # podman's own account of what it does
            lines.append(readable(_field(reader, "MESSAGE"))[:1000])
    return lines[::-1]


class Joiner:
    """Puts lines together again that journald broke up."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, message: bytes, broken: bool) -> list[str]:
        """The lines that are complete with this message; `broken` says that its line goes on in the next one."""
        self._parts.append(message)
        self._size += len(message)
        if broken and self._size < self._longest:
            return []
        return self.rest()

    def rest(self) -> list[str]:
        """The begun line, if any."""
        if not self._parts:
            return []
        line = b"".join(self._parts)
        self._parts, self._size = [], 0
        return [readable(line)]


def readable(line: bytes) -> str:
    """Text of a line, nothing lost: bytes that are not UTF-8 as `\\xNN`."""
    return line.decode("utf-8", "backslashreplace")


def _field(reader: journal.Reader, name: str) -> bytes:
    try:
        value = reader._get(name)
    except KeyError:
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Return when one of them is set, or it is time to look anyway."""
    waits = [asyncio.ensure_future(one.wait()), asyncio.ensure_future(other.wait())]
    try:
        await asyncio.wait(waits, timeout=_LOOK_AGAIN, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
