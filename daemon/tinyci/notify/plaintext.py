"""Text from builds, refs and people as plain text that no terminal and no chat service obeys."""

import re

from tinyci.model.text import CONTROL

# ECMA-48: control sequences, and strings for the terminal (OSC, DCS, APC, PM, SOS) with their contents.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
)
# Chat services make mentions of these: @everyone, <!channel>, <@U123>, <#C123>.
_MENTION = re.compile(r"([@<])(?=[\w!@#&/])")

_INPUT_FACTOR = 64
"""Input is cut at this many times the length of the result: the rest of a line of megabytes costs no time."""


def one_line(text: str, max_length: int) -> str:
    """Return the text as one line of at most so many characters; a longer one ends in an ellipsis."""
    text = _strip(text[: max_length * _INPUT_FACTOR]).replace("\t", " ").strip()
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def last_lines(text: str, max_lines: int, max_length: int) -> str:
    """Return the last lines of the text, without empty ones around them, in at most so many characters.

    Of a line that overwrites itself with carriage returns, the last state is returned.
    """
    lines: list[str] = []
    space = max_length
    for raw in reversed(text[-max_length * _INPUT_FACTOR :].rstrip().split("\n")[-max_lines:]):
        line = _strip(raw.rpartition("\r")[2] or raw).rstrip()
        if len(line) > space:
            if space > 1:
                lines.append(f"…{line[len(line) - space + 1 :]}")
            break
        lines.append(line)
        space -= len(line) + 1
    return "\n".join(reversed(lines)).strip("\n")


def without_mentions(text: str) -> str:
    """Return a text that looks the same and mentions nobody: a word joiner (U+2060), which has no width, breaks
    mentions up."""
    return _MENTION.sub("\\1\u2060", text)


def _strip(text: str) -> str:
    return CONTROL.sub("", _SEQUENCES.sub("", text))
