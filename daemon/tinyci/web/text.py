"""Text that came from anywhere, as a page may show it; times and spans as words."""

import re
from datetime import UTC, datetime

from tinyci.model.timespan import brief

# C0 and C1, DEL, what turns the direction of text or cannot be seen, what ends a line, and bytes that were not UTF-8.
CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def escape(found: re.Match[str]) -> str:
    """A character as it is written in a program: `\\x1b`, `\\u202e`; a byte that was not UTF-8 as that byte."""
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: str, most: int = 300) -> str:
    """One line of at most so many characters, without anything that is not to be seen."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return CONTROL.sub(escape, cut.replace("\t", " "))


def sendable(text: str) -> str:
    """The same text without what has no UTF-8, as the message bus tells it."""
    return text.encode("utf-8", "backslashreplace").decode()


def utc(seconds: float | None) -> str:
    """A time for a person; empty for none."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds is not None else ""


def iso(seconds: float | None) -> str:
    """A time for a program, to the millisecond; empty for none."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(seconds: float | None, now: float) -> str:
    """How long ago that was, in words; empty for no time."""
    if seconds is None:
        return ""
    passed = now - seconds
    if passed < -5:
        return "in the future"
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if passed >= size:
            count = int(passed // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now" if passed < 10 else f"{int(passed)} seconds ago"


def took(seconds: float | None) -> str:
    """A length of time; empty for none."""
    return "" if seconds is None else brief(seconds)
