"""The output of a build, followed in the journal. Source: systemd-journald.service(8), journald.conf(5)."""

import asyncio
from collections.abc import AsyncIterator
from enum import Enum, auto

from systemd import journal

from tinyci.runtime.waiting import first_of
from tinyci.systemd.journal import decode, field, news_event

_LINES_PER_TURN = 2000
_LOOK_AGAIN = 3.0
"""Seconds after which one looks for lines without any news: once in some hundred builds, on a busy machine, the first
ones were seen only when somebody else logged something, 20 s later."""


class _Rest(Enum):
    """Lines of a build that are still to be read."""

    STORED = auto()
    """There are more in the journal."""
    TO_COME = auto()
    """There are none in the journal now."""
    NONE = auto()
    """The last line has been read."""


class BuildOutput:
    r"""The lines that one run of a build's unit prints, between a first and a last line of its own.

    Lines are text: bytes that are not UTF-8 come as `\xNN`, and what journald broke up for its length (LineMax=) is
    joined again up to `longest` bytes. journald also drops empty lines, and ends a line where another process writes
    on; `journalctl` shows that as two lines as well, and it cannot be told from two.

    The first line is found by its text and the sender's uid, both indexed and always there; its entry names the stream
    (_STREAM_ID), which all lines of the unit share. The invocation id would not do: journald looks a sender's unit
    up when it handles the line, and a process that printed and ended in a moment has none by then.
    """

    def __init__(self, first: str, last: str, uid: int, longest: int = 1 << 20) -> None:
        self._first = first
        self._last = last
        self._uid = uid
        self._joiner = LineJoiner(longest)

    async def follow(self, unit_end: asyncio.Event, patience: float) -> AsyncIterator[list[str]]:
        """Yield lists of lines as they come, without the first and the last line.

        A unit can be over well before journald has stored its output. So when `unit_end` is set, the last line is
        still awaited, as long as others keep coming, and for `patience` seconds when none do: a killed unit does not
        print it.
        """
        with journal.Reader() as reader, news_event(reader) as news:
            reader.data_threshold = 0  # else fields are cut at 64 KiB
            has_begun = False
            while True:
                news.clear()
                reader.process()
                has_begun = has_begun or self._find(reader)
                rest = _Rest.STORED if has_begun else _Rest.TO_COME
                while rest is _Rest.STORED:
                    # Some per turn: a chatty build must not hold up the other deploys.
                    lines, rest = self._read(reader)
                    if lines:
                        yield lines
                    if rest is _Rest.NONE:
                        return
                    await asyncio.sleep(0)
                if not unit_end.is_set():
                    await first_of(news.wait(), unit_end.wait(), timeout=_LOOK_AGAIN)
                elif not await first_of(news.wait(), timeout=patience):
                    if lines := self._joiner.rest():
                        yield lines
                    return

    def _find(self, reader: journal.Reader) -> bool:
        """Point the reader at the stream that begins with our first line, if that is stored already."""
        reader.flush_matches()
        reader.add_match(f"MESSAGE={self._first}")
        reader.add_match(f"_UID={self._uid}")
        reader.seek_head()
        if not reader._next():
            return False
        stream = field(reader, "_STREAM_ID").decode()
        reader.flush_matches()
        reader.add_match(f"_STREAM_ID={stream}")
        reader.seek_head()
        return True

    def _read(self, reader: journal.Reader) -> tuple[list[str], _Rest]:
        """Return some lines, and which are still to be read."""
        lines: list[str] = []
        for _ in range(_LINES_PER_TURN):
            if not reader._next():
                return lines, _Rest.TO_COME
            continues = field(reader, "_LINE_BREAK") == b"line-max"
            for line in self._joiner.add(field(reader, "MESSAGE"), continues=continues):
                if line == self._last:
                    return lines, _Rest.NONE
                if line != self._first:
                    lines.append(line)
        return lines, _Rest.STORED


class LineJoiner:
    """Puts lines together again that journald broke up."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, message: bytes, *, continues: bool) -> list[str]:
        """Return the lines that are complete with this message. `continues`: its line goes on in the next message."""
        self._parts.append(message)
        self._size += len(message)
        if continues and self._size < self._longest:
            return []
        return self.rest()

    def rest(self) -> list[str]:
        """Return the line that has begun, if any."""
        if not self._parts:
            return []
        line = b"".join(self._parts)
        self._parts, self._size = [], 0
        return [decode(line)]
