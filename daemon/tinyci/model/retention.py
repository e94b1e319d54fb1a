"""Which kept jobs have been kept for long enough."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tinyci.model.state import FINAL, State


class KeptJob(NamedTuple):
    """What the index and the hash say of a kept job; empty strings where the hash is gone or not whole."""

    id: str
    repo: str
    ref: str
    state: str
    created: str
    image: str
    time: float
    """Seconds since the epoch, as the index has it."""


def expired(kept: Sequence[KeptJob], most: int, age: float, now: float, live: Collection[str] = ()) -> list[str]:
    """Ids of ended jobs that are older than `age` seconds, or not among the `most` newest ended ones of their repo.

    `kept` is oldest first, `live` are the ids that wait or run. A job that is none of them, and has not begun, is one
    whose hash is gone, or that nothing leads to: it is left alone until its age.
    """
    ids = []
    newer: Counter[str] = Counter()
    for job in reversed(kept):
        ended = job.state in FINAL
        newer[job.repo] += ended
        if job.id in live:
            continue
        if (ended and newer[job.repo] > most) or ((ended or job.state in ("", State.QUEUED)) and now - job.time > age):
            ids.append(job.id)
    return ids
