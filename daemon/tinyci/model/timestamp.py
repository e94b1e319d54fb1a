"""Timestamps of hashes, events and properties: ISO 8601 in UTC with microseconds."""

import time
from datetime import UTC, datetime


def now() -> str:
    return stamp(time.time())


def stamp(seconds: float) -> str:
    """Return the timestamp of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(stamp: str) -> float | None:
    """Return the seconds since the epoch of a timestamp; None for any other text."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError, OSError):  # no date, or none that the host can count
        return None


def duration(begin: str, end: str) -> float | None:
    """Return the seconds between two timestamps, never negative; None unless both are timestamps."""
    begin_seconds, end_seconds = seconds(begin), seconds(end)
    return None if begin_seconds is None or end_seconds is None else max(0.0, end_seconds - begin_seconds)
