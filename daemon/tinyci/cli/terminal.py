"""What a terminal is told: text that it does not obey, colours if it has them, and what goes on while it waits."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import TextIO, TypeVar

from tinyci.model.timespan import brief

T = TypeVar("T")

_SGR = re.compile(r"\x1b\[[0-9;:]*m")
# C0 and C1 without the tab, DEL, what turns the direction of text, and what is no character at all.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOURS = {
    "succeeded": "32",
    "queued": "36",
    "building": "34",
    "restarting": "34",
    "verifying": "34",
    "rolling-back": "33",
    "rolled-back": "33",
    "cancelled": "33",
    "superseded": "2",
}
_WRONG = "31"


def safe(text: str, colours: bool = False) -> str:
    """One line without anything that a terminal would obey: control characters as `\\xNN`, and colours (SGR sequences,
    ECMA-48) dropped, or with `colours` kept and ended where the line ends."""
    text = text.removesuffix("\r")
    if not colours:
        return _CONTROL.sub(_escape, _SGR.sub("", text))
    out, at, coloured = "", 0, False
    for found in _SGR.finditer(text):
        out += _CONTROL.sub(_escape, text[at : found.start()]) + found[0]
        at, coloured = found.end(), True
    return out + _CONTROL.sub(_escape, text[at:]) + ("\x1b[0m" if coloured else "")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def has_colours(stream: TextIO) -> bool:
    """Whether it is a terminal whose owner wants them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def state(word: str, stream: TextIO, width: int = 0) -> str:
    """A state, in its colour if the stream has any."""
    padded = safe(word).ljust(width)
    return f"\x1b[{_COLOURS.get(word, _WRONG)}m{padded}\x1b[0m" if has_colours(stream) else padded


def columns(stream: TextIO) -> int:
    """Its width in characters."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def table(head: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO, coloured: int = -1) -> list[str]:
    """Rows as lines: on a terminal in columns under a head and no wider than it, else between tabs. The column number
    `coloured` holds states."""
    cells = [[safe(cell) for cell in row] for row in rows]
    if not stream.isatty():
        return ["\t".join(row) for row in cells]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    most = columns(stream)
    # The widest gives way first, down to what its head needs.
    while sum(widths) + 2 * (len(widths) - 1) > most:
        widest = max(range(len(widths)), key=lambda number: widths[number])
        if widths[widest] <= max(4, len(head[widest])):
            break
        widths[widest] -= 1
    lines = []
    for number, row in enumerate([list(head), *cells]):
        parts = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            cut = cell if len(cell) <= width else cell[: width - 1] + "…"
            padded = cut if column == len(widths) - 1 else cut.ljust(width)
            parts.append(state(cell, stream, width) if number and column == coloured else padded)
        line = "  ".join(parts).rstrip()
        lines.append(f"\x1b[1m{line}\x1b[0m" if not number and has_colours(stream) else line)
    return lines


class Progress:
    """One line at the bottom of a terminal (stderr) that says what goes on and since when; elsewhere nothing."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._since = time.monotonic()
        self._text = ""

    def show(self, text: str) -> None:
        """Say something else from now on."""
        self._text = text
        self._draw()

    async def during(self, work: Awaitable[T]) -> T:
        """Keep its time while something is done."""

        async def tick() -> None:
            while True:
                self._draw()
                await asyncio.sleep(1)

        ticking = asyncio.ensure_future(tick())
        try:
            return await work
        finally:
            ticking.cancel()
            self.clear()

    def _draw(self) -> None:
        if self._shown and self._text:
            line = f"{safe(self._text)} ({brief(time.monotonic() - self._since)})"[: columns(sys.stderr) - 1]
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
