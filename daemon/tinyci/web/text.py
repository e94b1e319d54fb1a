"""Text for a page: single lines, times and durations in words."""

from datetime import UTC, datetime

from tinyci.model.text import visible
from tinyci.model.timespan import brief


def plain(text: str, max_length: int = 300) -> str:
    """Make one line of at most that many characters, in which every character can be seen."""
    cut_text = text if len(text) <= max_length else f"{text[: max_length - 1]}…"
    return visible(cut_text.replace("\t", " "))


def utc(seconds: float | None) -> str:
    """Format a time for a person; empty for None."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds is not None else ""


def iso(seconds: float | None) -> str:
    """Format a time for a program, in ISO 8601 with milliseconds; empty for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(seconds: float | None, now: float) -> str:
    """Say in words how long before `now` a time was; empty for None."""
    if seconds is None:
        return ""
    age = now - seconds
    if age < -5:
        return "in the future"
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if age >= size:
            count = int(age // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now" if age < 10 else f"{int(age)} seconds ago"


def took(seconds: float | None) -> str:
    """Format a duration for a person; empty for None."""
    return "" if seconds is None else brief(seconds)
