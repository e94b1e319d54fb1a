"""Times as every hash, event and property has them: ISO 8601 in UTC with microseconds."""

import time
from datetime import UTC, datetime


def now() -> str:
    return stamp(time.time())


def stamp(seconds: float) -> str:
    """The timestamp of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(stamp: str) -> float | None:
    """Seconds since the epoch of a timestamp; None for any other text."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None


def duration(began: str, ended: str) -> float | None:
    """Seconds between two timestamps, never negative; None unless both are timestamps."""
    first, last = seconds(began), seconds(ended)
    return None if first is None or last is None else max(0.0, last - first)
