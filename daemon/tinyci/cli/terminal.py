"""Output for a terminal: text that it does not obey, colours if it has them, tables, and the progress of a wait."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import TextIO, TypeVar

from tinyci.model.state import TABLE, Kind, State
from tinyci.model.text import visible
from tinyci.model.timespan import brief

T = TypeVar("T")

_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_COLOURS = {Kind.GOOD: "32", Kind.SAME: "36", Kind.BAD: "31", Kind.LIVE: "34", Kind.NEUTRAL: "33"}
_UNKNOWN = "31"
"""Colour of a state that only a newer daemon knows."""


def safe(text: str, *, colours: bool = False) -> str:
    r"""Make a line harmless: control characters as `\xNN`, and colours (SGR sequences, ECMA-48) dropped, or with
    `colours` kept and ended where the line ends."""
    text = text.removesuffix("\r")
    if not colours:
        return visible(_SGR.sub("", text))
    line, end = "", 0
    for sequence in _SGR.finditer(text):
        line += visible(text[end : sequence.start()]) + sequence[0]
        end = sequence.end()
    return line + visible(text[end:]) + ("\x1b[0m" if end else "")


def has_colours(stream: TextIO) -> bool:
    """Return whether the stream is a terminal whose owner wants colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def state(word: str, stream: TextIO, width: int = 0) -> str:
    """A state, at least that wide, in the colour of its kind if the stream has colours."""
    text = safe(word).ljust(width)
    if not has_colours(stream):
        return text
    colour = _COLOURS[State(word).row.kind] if word in TABLE else _UNKNOWN
    return f"\x1b[{colour}m{text}\x1b[0m"


def columns(stream: TextIO) -> int:
    """The width of the stream in characters."""
    setting = os.environ.get("COLUMNS", "")
    if setting.isdecimal() and int(setting):
        return int(setting)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO, state_column: int | None = None
) -> list[str]:
    """Rows as lines: on a terminal in columns under a head and no wider than it, else between tabs. `state_column`:
    number of the column that holds states."""
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
            text = cell if len(cell) <= width else cell[: width - 1] + "…"
            is_last = column == len(widths) - 1
            is_state = number > 0 and column == state_column
            parts.append(state(cell, stream, width) if is_state else text if is_last else text.ljust(width))
        line = "  ".join(parts).rstrip()
        lines.append(f"\x1b[1m{line}\x1b[0m" if not number and has_colours(stream) else line)
    return lines


class Progress:
    """One line at the bottom of a terminal (stderr) with what goes on and since when; elsewhere nothing."""

    def __init__(self) -> None:
        self._has_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._since = time.monotonic()
        self._text = ""

    def show(self, text: str) -> None:
        """Replace the text."""
        self._text = text
        self._draw()

    async def during(self, work: Awaitable[T]) -> T:
        """Show the seconds while the work goes on."""

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

    def clear(self) -> None:
        if self._has_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _draw(self) -> None:
        if self._has_terminal and self._text:
            line = f"{safe(self._text)} ({brief(time.monotonic() - self._since)})"[: columns(sys.stderr) - 1]
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
