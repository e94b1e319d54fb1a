"""The last words of a program in its output: of a traceback, the error."""

import re
from collections.abc import Iterable

_BARS = " |+"
"""Before each line of an exception group (traceback.TracebackException.format())."""
# Between its parts, and below it; marks and places of code.
_DRAWING = re.compile(
    r"-*(?: ?(?:\d+|\.\.\.) ?-+)?|and \d+ more exceptions?"
    r'|[~^]+|File ".*", line \d+.*|.*Traceback \(most recent call last\):'
)


def last_words(lines: Iterable[str]) -> str:
    """Return the last line that says something, without the drawing of a traceback; empty for none."""
    for line in reversed(list(lines)):
        words = line.lstrip(_BARS).rstrip()
        if not _DRAWING.fullmatch(words):
            return words
    return ""
