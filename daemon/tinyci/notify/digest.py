"""Events of one repo that wait to be told together."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinyci.model.state import BAD
from tinyci.notify.event import JobEvent


class Digest(NamedTuple):
    """However many events there were, it holds two of them."""

    repo: str
    counts: Mapping[str, int]
    """How many ended in which state."""
    last: JobEvent
    failure: JobEvent | None
    """The last one that failed."""
    is_recovery: bool
    """The last success is the first after a failure, told before or in here, and no failure came after it."""
    since: str
    """When the first of them was."""
    until: float
    """Seconds since the epoch at which the last of them came to us."""

    @classmethod
    def of(cls, event: JobEvent, word: str, now: float) -> "Digest":
        """`word`: for which of NOTICES it is told."""
        failure = event if event.state in BAD else None
        return cls(event.repo, {event.state: 1}, event, failure, word == "recovery", event.at, now)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def then(self, later: "Digest") -> "Digest":
        """Both as one."""
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
        """As JSON may hold it."""
        return {
            **self._asdict(),
            "last": self.last._asdict(),
            "failure": self.failure._asdict() if self.failure else None,
        }

    @classmethod
    def load(cls, kept: Any) -> "Digest":
        """What dump() made. Raises ValueError or TypeError."""
        if not isinstance(kept, dict):
            raise ValueError("not a digest")
        made = cls(**kept)
        return made._replace(
            counts={str(state): int(count) for state, count in dict(made.counts).items()},
            last=JobEvent.load(made.last),
            failure=JobEvent.load(made.failure) if made.failure else None,
            until=float(made.until),
        )
