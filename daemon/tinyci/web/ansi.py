"""A line of output as pieces of text with classes, as a terminal shows it (ECMA-48).

Colours and other looks (SGR) become classes. Moves of the cursor within the line (carriage return, backspace, erase)
are obeyed, so that a progress bar shows its end. All other sequences are dropped, and lone control characters are
written out as in a program. Each line stands for itself: a colour ends where the line ends.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from tinyci.model.text import visible
from tinyci.web.palette import is_readable_on, nearest

LONGEST = 4000
"""Characters of a line that are shown."""
_PIECES = 400
"""Changes of its looks that are followed in a line."""

Span = tuple[str, str]
"""Classes between blanks, or none; and text."""

_TOKEN = re.compile(
    r"\x1b\[(?P<parameters>[0-9:;<=>?]{0,100})[ -/]{0,4}(?P<final>[@-~])"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"  # OSC, DCS, SOS, PM, APC: titles, links, pictures
    r"|\x1b[ -/]{1,4}[0-~]|\x1b[0-OQ-WYZ`-~\\]"  # character sets, keypad and the like
    r"|(?P<move>[\r\x08])"
)
_MOVES = re.compile(r"[\r\x08]|\x1b\[(?:[0-9]*[CDG]|[12]K)")
"""Controls after which text goes elsewhere than to the end, or that erase text."""
_PLAIN_CONTROL = re.compile(r"\x1b\[[0-9]*[A-Z]")
"""CSI with one number at most, as all moves are; with other characters between it is none of them."""
_PRIVATE = ("<", "=", ">", "?")


@dataclass(frozen=True, slots=True)
class _Look:
    text: int | None = None
    ground: int | None = None
    words: frozenset[str] = frozenset()
    """Of bold, dim, italic, under, strike."""
    is_inverse: bool = False


_PLAIN = _Look()
_ON = {1: "bold", 2: "dim", 3: "italic", 4: "under", 21: "under", 9: "strike"}
_OFF = {22: {"bold", "dim"}, 23: {"italic"}, 24: {"under"}, 29: {"strike"}}


def spans(line: str) -> list[Span]:
    """Split a line into spans. No text is empty, and none has a control character but the tab."""
    start, rest = _cut(line)
    if "\x1b" not in start and "\r" not in start and "\x08" not in start:
        pieces = [("", visible(start))] if start else []
    else:
        pieces = _on_screen(start) if _MOVES.search(start) else _in_sequence(start)
    if rest:
        pieces.append(("cut", f" … {rest} more characters"))
    return pieces


def text(line: str) -> str:
    """The text of a line's spans."""
    return "".join(part for _, part in spans(line))


def _cut(line: str) -> tuple[str, int]:
    """The part of a line that is shown, and the number of characters after it."""
    line = line.rstrip("\r\n")
    if len(line) <= LONGEST:
        return line, 0
    line = line[line.rfind("\r") + 1 :]  # of a long progress bar only its last state
    return line[:LONGEST], max(0, len(line) - LONGEST)


def _in_sequence(line: str) -> list[Span]:
    """Spans of a line without moves: most lines are."""
    pieces: list[Span] = []
    at, changes, look = 0, 0, _PLAIN
    for token in _TOKEN.finditer(line):
        _append(pieces, look, line[at : token.start()])
        at = token.end()
        if token["final"] == "m" and token["parameters"][:1] not in _PRIVATE:
            changes += 1
            look = _next_look(look, token["parameters"]) if changes <= _PIECES else _PLAIN
    _append(pieces, look, line[at:])
    return pieces


def _append(pieces: list[Span], look: _Look, part: str) -> None:
    if part:
        classes, piece = _classes(look), visible(part)
        if pieces and pieces[-1][0] == classes:
            piece = pieces.pop()[1] + piece
        pieces.append((classes, piece))


def _on_screen(line: str) -> list[Span]:
    """Spans of any line."""
    screen = _Screen()
    at, changes, look = 0, 0, _PLAIN
    for token in _TOKEN.finditer(line):
        screen.write(look, line[at : token.start()])
        at = token.end()
        final, parameters = token["final"], token["parameters"] or ""
        if token["move"] == "\r":
            screen.column = 0
        elif token["move"]:
            screen.column = max(0, screen.column - 1)
        elif final == "m" and parameters[:1] not in _PRIVATE:
            changes += 1
            look = _next_look(look, parameters) if changes <= _PIECES else _PLAIN
        elif not _PLAIN_CONTROL.fullmatch(token[0]):
            continue
        elif final in ("C", "D", "G"):
            screen.move(final, parameters)
        elif final == "K":
            screen.erase(parameters)
    screen.write(look, line[at:])
    return screen.spans()


class _Screen:
    """One line of a terminal, with a cursor that moves over it."""

    def __init__(self) -> None:
        self._cells: list[Span] = []
        """Classes and one character each, or how it is written out."""
        self.column = 0

    def write(self, look: _Look, part: str) -> None:
        classes = _classes(look)
        for char in part:
            cell = (classes, visible(char))
            if self.column < len(self._cells):
                self._cells[self.column] = cell
            else:
                self._cells.extend([("", " ")] * (self.column - len(self._cells)))
                self._cells.append(cell)
            self.column += 1

    def move(self, final: str, parameters: str) -> None:
        """Move the cursor to the right (C), to the left (D) or to a column (G)."""
        count = min(int(parameters), LONGEST) if parameters.isdecimal() else 1
        column = {"C": self.column + count, "D": self.column - count, "G": count - 1}[final]
        self.column = min(max(column, 0), LONGEST)

    def erase(self, parameters: str) -> None:
        """Erase the line from the cursor on (0), up to it (1), or whole (2)."""
        if parameters in ("", "0"):
            del self._cells[self.column :]
        elif parameters in ("1", "2"):
            end = len(self._cells) if parameters == "2" else min(self.column + 1, len(self._cells))
            self._cells[:end] = [("", " ")] * end

    def spans(self) -> list[Span]:
        pieces: list[tuple[str, list[str]]] = []
        for classes, char in self._cells:
            if pieces and pieces[-1][0] == classes:
                pieces[-1][1].append(char)
            else:
                pieces.append((classes, [char]))
        while pieces and not pieces[-1][0] and not "".join(pieces[-1][1]).strip(" "):
            pieces.pop()  # erased cells
        return [(classes, "".join(chars)) for classes, chars in pieces]


@lru_cache(maxsize=4096)
def _next_look(look: _Look, parameters: str) -> _Look:
    """The look after an SGR sequence with those parameters."""
    # Colons separate the parts of one parameter; semicolons are often written for them.
    codes = [[int(part) if part.isdecimal() else 0 for part in each.split(":")] for each in parameters.split(";")]
    while codes:
        code, *parts = codes.pop(0)
        if code in (38, 48):
            if not parts and codes:
                kind = codes.pop(0)[0]
                count = {5: 1, 2: 3}.get(kind, 0)
                parts = [kind, *(each[0] for each in codes[:count])]
                del codes[:count]
            number = _colour_number(parts)
            if number is not None:
                look = replace(look, text=number) if code == 38 else replace(look, ground=number)
        elif code == 0:
            look = _PLAIN
        elif code == 4 and parts[:1] == [0]:
            look = replace(look, words=look.words - {"under"})
        elif code in _ON:
            look = replace(look, words=look.words | {_ON[code]})
        elif code in _OFF:
            look = replace(look, words=look.words - _OFF[code])
        elif code in (7, 27):
            look = replace(look, is_inverse=code == 7)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            look = replace(look, text=code - 30 if code < 90 else code - 82)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            look = replace(look, ground=code - 40 if code < 100 else code - 92)
        elif code == 39:
            look = replace(look, text=None)
        elif code == 49:
            look = replace(look, ground=None)
    return look


def _colour_number(parts: list[int]) -> int | None:
    """The colour of `5:N` or `2:R:G:B` or `2:SPACE:R:G:B`."""
    if len(parts) >= 2 and parts[0] == 5:
        return parts[1] if 0 <= parts[1] < 256 else None
    if len(parts) >= 4 and parts[0] == 2:
        red, green, blue = parts[-3:] if len(parts) == 4 else parts[2:5]
        return nearest(red, green, blue)
    return None


@lru_cache(maxsize=4096)
def _classes(look: _Look) -> str:
    words = sorted(look.words)
    front, ground = look.text, look.ground
    if look.is_inverse:
        if front is None:
            return " ".join(["inverse", *words])
        front, ground = ground, front
    if ground is not None:
        # Beside a ground, only a text colour that can be read on it; the ground alone has black or white text.
        words = [word for word in words if word != "dim"]
        has_front = front is not None and is_readable_on(front, ground)
        return " ".join([f"b{ground}", *([f"x{front}"] if has_front else []), *words])
    if front is not None:
        return " ".join([f"f{front}", *(word for word in words if word != "dim")])
    return " ".join(words)
