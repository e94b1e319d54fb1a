"""The output of a build, followed in the journal. Source: systemd-journald.service(8), journald.conf(5)."""

import asyncio
import time
from collections.abc import AsyncIterator
from enum import Enum, auto

from systemd import journal

from tinyci.runtime.pace import Pace
from tinyci.runtime.waiting import first_of
from tinyci.systemd.journal import JournalError, decode, field, reader_with_news

_TURN = 0.005
"""Seconds of the processor that lines are read for in one go: a chatty build must not hold up the other deploys."""
_BURST = 2.0
_SHARE = 0.05
"""Part of the processor for the lines of a build that prints more than can be read, while it runs: its own output comes
later then, and other deploys do not."""
_LOOK_AGAIN = 3.0
"""Seconds after which one looks for lines without any news: once in some hundred builds, on a busy machine, the first
ones were seen only when somebody else logged something, 20 s later."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 0.4
"""Seconds from the begin of a build to the first look for its first line, and later on from one look to the next: each
is a thread's, and the processes of a build need some time to start, longer on a busy machine."""
_PAUSE = 0.1
"""Seconds from a look that showed nothing to the next one. News of the journal is anybody's: on a noisy host it never
ends."""
_LATEST = 60.0
"""Seconds after the end of the unit from which on lines are not its own: a process outside it may have its stream, and
print for ever. journald took 16 s to store the rest of a million lines."""


class _Rest(Enum):
    """Lines of a build that are still to be read."""

    STORED = auto()
    """There are more in the journal."""
    TO_COME = auto()
    """There are none in the journal now."""
    NONE = auto()
    """The last line has been read."""


class _Patience:
    """The time that the journal has for the next line, once the unit has ended. Each line of the unit renews it, and
    nobody else's does."""

    def __init__(self, unit_end: asyncio.Event, seconds: float) -> None:
        self._unit_end = unit_end
        self._seconds = seconds
        self._end: float | None = None
        self._deadline = 0.0

    def is_over(self) -> bool:
        return self._has_ended() and time.monotonic() >= self._deadline

    def renew(self) -> None:
        if self._has_ended():
            self._deadline = time.monotonic() + self._seconds

    def is_too_late(self, stored: float) -> bool:
        """Return whether a line, stored at that time of the monotonic clock, is none of the unit."""
        return self._has_ended() and self._end is not None and stored > self._end + _LATEST

    def _has_ended(self) -> bool:
        if self._unit_end.is_set() and self._end is None:
            self._end = time.monotonic()
            self._deadline = self._end + self._seconds
        return self._end is not None


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
        self.pace = Pace(_BURST, _SHARE)
        """The account of all that the lines cost while the build runs; what their reader does with them is for him to
        take off."""

    async def follow(self, unit_end: asyncio.Event, patience: float) -> AsyncIterator[list[str]]:
        """Yield lists of lines as they come, without the first and the last line. Raises JournalError.

        A unit can be over well before journald has stored its output. So when `unit_end` is set, the last line is
        still awaited, as long as others of the unit keep coming, and for `patience` seconds when none do: a killed
        unit does not print it, and one that could not be executed prints nothing.
        """
        end = _Patience(unit_end, patience)
        try:
            if stream := await self._find(unit_end, end):
                async for lines in self._follow_stream(stream, unit_end, end):
                    yield lines
        except OSError as error:
            raise JournalError(f"the journal cannot be read: {error.strerror or error}") from None

    async def _find(self, unit_end: asyncio.Event, end: _Patience) -> str:
        """Wait for the first line, and return the id of its stream; empty when it does not come.

        Each look is a thread's, with a reader of its own: who writes to the journal can make one take seconds.
        """
        error: OSError | None = None
        pause = _FIRST_PAUSE
        await first_of(unit_end.wait(), timeout=pause)  # the stage's process has to begin first
        while not end.is_over():
            look = asyncio.create_task(asyncio.to_thread(_find_stream, self._first, self._uid))
            try:
                while not look.done() and not end.is_over():
                    await asyncio.wait({look}, timeout=_PAUSE)
            finally:
                look.cancel()
            if not look.done():
                break
            try:
                if stream := look.result():
                    return stream
                error = None
            except OSError as no_reader:  # no descriptor is free, and there may be one before the build ends
                error = no_reader
            pause = min(2 * pause, _LONGEST_PAUSE)
            await self._pause(unit_end, pause)
        if error:
            raise error
        return ""

    async def _follow_stream(self, stream: str, unit_end: asyncio.Event, end: _Patience) -> AsyncIterator[list[str]]:
        with reader_with_news() as (reader, news):
            reader.data_threshold = 0  # else fields are cut at 64 KiB
            reader.add_match(f"_STREAM_ID={stream}")
            reader.seek_head()
            end.renew()
            while True:
                news.clear()
                reader.process()
                rest = _Rest.STORED
                while rest is _Rest.STORED:
                    with self.pace.spending():
                        count, lines, rest = self._read(reader, end)
                    if lines:
                        yield lines
                    if rest is _Rest.NONE:
                        return
                    if count:
                        end.renew()
                    if rest is _Rest.STORED and not unit_end.is_set() and (pause := self.pace.pause()):
                        await first_of(unit_end.wait(), timeout=pause)
                    else:
                        await asyncio.sleep(0)
                if end.is_over():
                    if lines := self._joiner.rest():
                        yield lines
                    return
                is_last = unit_end.is_set()
                await self._pause(unit_end)
                if is_last:
                    await first_of(news.wait(), timeout=_PAUSE)
                elif not unit_end.is_set():
                    await first_of(news.wait(), unit_end.wait(), timeout=_LOOK_AGAIN)

    async def _pause(self, unit_end: asyncio.Event, seconds: float = _PAUSE) -> None:
        """Wait before the next look. At the end of the unit, when its last line is most likely there, look at once."""
        if unit_end.is_set():
            await asyncio.sleep(_PAUSE)
        else:
            await first_of(unit_end.wait(), timeout=seconds)

    def _read(self, reader: journal.Reader, end: _Patience) -> tuple[int, list[str], _Rest]:
        """Return the number of entries that were read, their lines, and which are still to be read."""
        lines: list[str] = []
        begin = time.thread_time()
        count = 0
        while time.thread_time() - begin < _TURN:
            if not reader._next():
                return count, lines, _Rest.TO_COME
            if not count and end.is_too_late(reader._get_monotonic()[0] / 1_000_000):
                return count, self._joiner.rest(), _Rest.NONE
            count += 1
            continues = field(reader, "_LINE_BREAK") == b"line-max"
            for line in self._joiner.add(field(reader, "MESSAGE"), continues=continues):
                if line == self._last:
                    return count, lines, _Rest.NONE
                if line != self._first:
                    lines.append(line)
        return count, lines, _Rest.STORED


def _find_stream(first: str, uid: int) -> str:
    """Return the id of the stream that begins with this line of this user; empty when it is not stored."""
    with journal.Reader() as reader:
        reader.add_match(f"MESSAGE={first}")
        reader.add_match(f"_UID={uid}")
        reader.add_match("_TRANSPORT=stdout")  # an entry that is no stream's may have the same text
        reader.seek_head()
        return field(reader, "_STREAM_ID").decode() if reader._next() else ""


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
