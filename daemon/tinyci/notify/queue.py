"""The digests that wait for one recipient, one per repo, and when each may be sent."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tinyci.notify.digest import Digest

GATHERING = (2.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds in which events of a repo are gathered into one message: for the first message after a quiet time, and for
each that follows closely."""
QUIET = 60.0
"""Seconds without a message of a repo after which its next one is sent soon again."""
RETRY_PAUSE = (1.0, 300.0)
"""Seconds to the next try, at least and at most: a quarter of the time for which tries have failed. So a message
arrives soon after a short outage, and a long one sees few tries."""
MAX_AGE = 24 * 3600.0
"""Seconds after which a digest that could not be sent is dropped."""
MAX_REPOS = 200
"""Repos that may have a digest here."""


class _Entry(NamedTuple):
    """One digest that waits."""

    due: float
    """Earliest time to send it."""
    step: int
    """Index in GATHERING."""
    until: float
    """Time at which its last event was read."""
    digest: Digest


class DigestQueue:
    """The queue. Times are in seconds of a monotonic clock."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` returns a number from 0 to 1: clients that were refused together must not come back together."""
        self._jitter = jitter
        self._entries: dict[str, _Entry] = {}
        """By repo; a digest that is being sent is not among them."""
        self._sending: _Entry | None = None
        self._last_sent: dict[str, tuple[float, int]] = {}
        """By repo: time and index in GATHERING of its last message; forgotten after QUIET."""
        self._failing_since: float | None = None
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._entries) + (self._sending is not None)

    def add(self, digest: Digest, now: float) -> list[Digest]:
        """Add a digest, merged with one of the same repo. Return digests that were dropped for lack of space."""
        if before := self._entries.get(digest.repo):
            self._entries[digest.repo] = before._replace(until=now, digest=before.digest.merge(digest))
            return []
        step = self._next_step(digest.repo, now)
        self._entries[digest.repo] = _Entry(now + GATHERING[step], step, now, digest)
        overflow = []
        while len(self._entries) > MAX_REPOS:
            oldest = min(self._entries, key=lambda repo: self._entries[repo].until)
            overflow.append(self._entries.pop(oldest).digest)
        return overflow

    def take(self, now: float) -> Digest | None:
        """Return the digest to send now; None if none is due. mark_sent() or mark_failed() must follow."""
        if self._sending or now < self._not_before or not self._entries:
            return None
        repo = min(self._entries, key=lambda repo: self._entries[repo].due)
        if self._entries[repo].due > now:
            return None
        self._sending = self._entries.pop(repo)
        return self._sending.digest

    def next_due(self) -> float | None:
        """Return the time at which take() will have a digest; None if another call must come first."""
        if self._sending or not self._entries:
            return None
        return max(self._not_before, min(each.due for each in self._entries.values()))

    def mark_sent(self, now: float) -> None:
        assert self._sending
        self._last_sent = {repo: last for repo, last in self._last_sent.items() if now - last[0] <= QUIET}
        self._last_sent[self._sending.digest.repo] = (now, self._sending.step)
        self._sending, self._failing_since = None, None

    def mark_failed(self, now: float) -> None:
        """Put the digest back, merged with events that came meanwhile, and set the time of the next try."""
        assert self._sending
        first, self._sending = self._sending, None
        later = self._entries.get(first.digest.repo)
        digest = first.digest.merge(later.digest) if later else first.digest
        until = later.until if later else first.until
        self._entries[digest.repo] = _Entry(now, first.step, until, digest)
        if self._failing_since is None:
            self._failing_since = now
        shortest, longest = RETRY_PAUSE
        pause = min(max(shortest, (now - self._failing_since) / 4), longest)
        self._not_before = now + pause * (0.5 + self._jitter() / 2)

    def expire(self, now: float) -> list[Digest]:
        """Remove and return digests that are too old to be of use."""
        old = [repo for repo, each in self._entries.items() if now - each.until > MAX_AGE]
        return [self._entries.pop(repo).digest for repo in old]

    def digests(self) -> list[Digest]:
        """Return all digests, the one that is being sent included: it may not arrive."""
        digests = {repo: each.digest for repo, each in self._entries.items()}
        if self._sending:
            first = self._sending.digest
            digests[first.repo] = first.merge(digests[first.repo]) if first.repo in digests else first
        return list(digests.values())

    def restore(self, digests: Iterable[Digest], now: float, wall_time: float) -> None:
        """Add the digests of before a restart: they have waited long enough. `wall_time`, in seconds since the epoch,
        says how old each is; one that seems to be of the future is new."""
        for digest in digests:
            age = max(0.0, wall_time - digest.until)
            self._entries[digest.repo] = _Entry(0.0, 0, now - age, digest)

    def _next_step(self, repo: str, now: float) -> int:
        if repo not in self._last_sent:
            return 0
        sent_at, step = self._last_sent[repo]
        return min(step + 1, len(GATHERING) - 1) if now - sent_at <= QUIET else 0
