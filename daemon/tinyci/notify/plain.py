"""Text of others as plain text: what a build prints, and what repos, refs and people are called, is never obeyed."""

import re

from tinyci.model.text import CONTROL

# ECMA-48: control sequences, and strings for the terminal (OSC, DCS, APC, PM, SOS) with what they hold.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
)
# Chat services make mentions of these: @everyone, <!channel>, <@U123>, <#C123>.
_MENTION = re.compile(r"([@<])(?=[\w!@#&/])")

_LOOKED_AT = 64
"""So many times more characters than are kept are looked at: the rest of a line of megabytes costs nothing."""


def line(text: str, most: int) -> str:
    """One line of at most so many characters."""
    text = CONTROL.sub("", _SEQUENCES.sub("", text[: most * _LOOKED_AT])).replace("\t", " ").strip()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def tail(text: str, lines: int, most: int) -> str:
    """The last lines, at most so many and of so many characters, without empty ones at the end."""
    kept: list[str] = []
    for each in reversed(text[-most * _LOOKED_AT :].rstrip().split("\n")[-lines:]):
        each = CONTROL.sub("", _SEQUENCES.sub("", each.rpartition("\r")[2] or each)).rstrip()
        left = most - sum(len(other) + 1 for other in kept)
        if len(each) > left:
            if left > 1:
                kept.append(f"…{each[len(each) - left + 1 :]}")
            break
        kept.append(each)
    return "\n".join(reversed(kept)).strip("\n")


def unmentioning(text: str) -> str:
    """The same to the eye, and a mention of nobody: with a word joiner (U+2060), which has no width."""
    return _MENTION.sub("\\1\u2060", text)
