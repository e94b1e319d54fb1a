"""A line of output as pieces of text with classes: what a terminal would show of it (ECMA-48).

Colours and other looks (SGR) become classes. What moves the cursor within the line (carriage return, backspace, erase)
is done, so that of a progress bar its end is seen. All other sequences are dropped, and lone control characters are
shown as they are written in a program. Each line stands for itself: a colour ends where it ends.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from tinyci.web.palette import is_readable_on, nearest
from tinyci.web.text import CONTROL, escape

LONGEST = 4000
"""Characters of a line that are shown."""
_PIECES = 400
"""Changes of its looks that are followed in a line."""

Span = tuple[str, str]
"""Classes between blanks, or none; and text."""

_TOKEN = re.compile(
    r"\x1b\[(?P<given>[0-9:;<=>?]{0,100})[ -/]{0,4}(?P<final>[@-~])"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"  # OSC, DCS, SOS, PM, APC: titles, links, pictures
    r"|\x1b[ -/]{1,4}[0-~]|\x1b[0-OQ-WYZ`-~\\]"  # character sets, keypad and the like
    r"|(?P<move>[\r\x08])"
)


_MOVES = re.compile(r"[\r\x08]|\x1b\[(?:[0-9]*[CDG]|[12]K)")
"""What writes on elsewhere than at the end, or erases what was written."""
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
    """What is shown of a line. No text is empty, and none has a control character but the tab."""
    shown, hidden = _shortened(line)
    if "\x1b" not in shown and "\r" not in shown and "\x08" not in shown:
        found = [("", CONTROL.sub(escape, shown))] if shown else []
    else:
        found = _terminal(shown)
    if hidden:
        found.append(("cut", f" … {hidden} more characters"))
    return found


def text(line: str) -> str:
    """The same without looks."""
    return "".join(part for _, part in spans(line))


def _shortened(line: str) -> tuple[str, int]:
    """A line that is not too long, and how many characters of it are left out."""
    line = line.rstrip("\r\n")
    if len(line) <= LONGEST:
        return line, 0
    line = line[line.rfind("\r") + 1 :]  # of a long progress bar only its last state
    return line[:LONGEST], max(0, len(line) - LONGEST)


def _terminal(line: str) -> list[Span]:
    return _on_a_screen(line) if _MOVES.search(line) else _as_it_comes(line)


def _as_it_comes(line: str) -> list[Span]:
    """Of a line that nothing is written over in: most are."""
    found: list[Span] = []
    at, changes, look = 0, 0, _PLAIN
    for token in _TOKEN.finditer(line):
        _append(found, look, line[at : token.start()])
        at = token.end()
        if token["final"] == "m" and token["given"][:1] not in _PRIVATE:
            changes += 1
            look = _changed(look, token["given"]) if changes <= _PIECES else _PLAIN
    _append(found, look, line[at:])
    return found


def _append(found: list[Span], look: _Look, part: str) -> None:
    if part:
        classes, shown = _classes(look), CONTROL.sub(escape, part)
        if found and found[-1][0] == classes:
            shown = found.pop()[1] + shown
        found.append((classes, shown))


def _on_a_screen(line: str) -> list[Span]:
    cells: list[tuple[str, str]] = []  # classes and one character, or what it is written as
    column, changes, look = 0, 0, _PLAIN

    def write(part: str) -> None:
        nonlocal column
        classes = _classes(look)
        for char in part:
            cell = (classes, CONTROL.sub(escape, char))
            if column < len(cells):
                cells[column] = cell
            else:
                cells.extend([("", " ")] * (column - len(cells)))
                cells.append(cell)
            column += 1

    at = 0
    for token in _TOKEN.finditer(line):
        write(line[at : token.start()])
        at = token.end()
        final, given = token["final"], token["given"] or ""
        if token["move"] == "\r":
            column = 0
        elif token["move"]:
            column = max(0, column - 1)
        elif final == "m" and given[:1] not in _PRIVATE:
            changes += 1
            look = _changed(look, given) if changes <= _PIECES else _PLAIN
        elif final in ("C", "D", "G"):
            count = min(int(given), LONGEST) if given.isdecimal() else 1
            column = {"C": column + count, "D": column - count, "G": count - 1}[final]
            column = min(max(column, 0), LONGEST)
        elif final == "K":
            if given in ("", "0"):
                del cells[column:]
            elif given in ("1", "2"):
                end = len(cells) if given == "2" else min(column + 1, len(cells))
                cells[:end] = [("", " ")] * end
    write(line[at:])
    return _joined(cells)


def _joined(cells: list[tuple[str, str]]) -> list[Span]:
    found: list[tuple[str, list[str]]] = []
    for classes, char in cells:
        if found and found[-1][0] == classes:
            found[-1][1].append(char)
        else:
            found.append((classes, [char]))
    while found and not found[-1][0] and not "".join(found[-1][1]).strip(" "):
        found.pop()  # what was erased
    return [(classes, "".join(chars)) for classes, chars in found]


@lru_cache(maxsize=4096)
def _changed(look: _Look, given: str) -> _Look:
    """After a sequence with those parameters."""
    # Colons separate the parts of one parameter; semicolons are often written for them.
    codes = [[int(part) if part.isdecimal() else 0 for part in each.split(":")] for each in given.split(";")]
    while codes:
        code, *parts = codes.pop(0)
        if code in (38, 48):
            if not parts and codes:
                kind = codes.pop(0)[0]
                count = {5: 1, 2: 3}.get(kind, 0)
                parts = [kind, *(each[0] for each in codes[:count])]
                del codes[:count]
            number = _numbered(parts)
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


def _numbered(parts: list[int]) -> int | None:
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
        # Beside a ground, only what can be read on it; the ground alone has black or white text.
        words = [word for word in words if word != "dim"]
        readable = front is not None and is_readable_on(front, ground)
        return " ".join([f"b{ground}", *([f"x{front}"] if readable else []), *words])
    if front is not None:
        return " ".join([f"f{front}", *(word for word in words if word != "dim")])
    return " ".join(words)
