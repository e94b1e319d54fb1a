"""Events of one repo that are told in one message."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinyci.model.state import BAD
from tinyci.notify.event import JobEvent


class Digest(NamedTuple):
    """The sum of any number of events, of which it holds two. memory.json has these names as keys."""

    repo: str
    counts: Mapping[str, int]
    """Number of events by state."""
    last: JobEvent
    failure: JobEvent | None
    """The last event of a failed deploy."""
    is_recovery: bool
    """True if the last success is the first one after a failure, of an earlier message or in here, and no failure
    followed it."""
    since: str
    """Timestamp of the first event (model/timestamp.py)."""
    until: float
    """Seconds since the epoch at which the last event was read."""

    @classmethod
    def of(cls, event: JobEvent, notice: str, now: float) -> "Digest":
        """Return the digest of one event. `notice`: the one of NOTICES that it is told for."""
        failure = event if event.state in BAD else None
        return cls(event.repo, {event.state: 1}, event, failure, notice == "recovery", event.at, now)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def merge(self, later: "Digest") -> "Digest":
        """Return one digest of both."""
        counts = dict(self.counts)
        for state, count in later.counts.items():
            counts[state] = counts.get(state, 0) + count
        # A cancelled deploy between two good ones takes no recovery back.
        was_recovery = self.is_recovery and later.failure is None
        return Digest(
            self.repo,
            counts,
            later.last,
            later.failure or self.failure,
            later.is_recovery or was_recovery,
            self.since,
            max(self.until, later.until),
        )

    def dump(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            **self._asdict(),
            "last": self.last._asdict(),
            "failure": self.failure._asdict() if self.failure else None,
        }

    @classmethod
    def load(cls, values: Any) -> "Digest":
        """Return the digest that dump() was called on. Raises ValueError or TypeError."""
        if not isinstance(values, dict):
            raise ValueError("not a digest")
        digest = cls(**values)
        return digest._replace(
            counts={str(state): int(count) for state, count in dict(digest.counts).items()},
            last=JobEvent.load(digest.last),
            failure=JobEvent.load(digest.failure) if digest.failure else None,
            until=float(digest.until),
        )
