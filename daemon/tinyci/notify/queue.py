"""What waits to be told to one service, and when it may be."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tinyci.notify.digest import Digest

GATHER = (2.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds in which events of a repo are gathered into one message: the first after some quiet, and those that follow
it closely, more and more."""
QUIET = 60.0
"""Seconds without a message of a repo after which the next one comes soon again."""
BACKOFF = (1.0, 300.0)
"""Seconds to the next try: a quarter of the time for which it was tried in vain, between these two. So it is told soon
after a short outage, and asked rarely in a long one."""
AGE = 24 * 3600.0
"""Seconds after which what could not be told is dropped."""
MOST = 200
"""Repos of which something may wait."""


class _Waiting(NamedTuple):
    due: float
    """From when on it may be told."""
    place: int
    """In GATHER."""
    digest: Digest


class DigestQueue:
    """Times called `now` are of a clock that is never set; those called `wall` are of the one on the wall."""

    def __init__(self, chance: Callable[[], float]) -> None:
        """`chance`: a number from 0 to 1, so that many who were refused at once do not all come back at once."""
        self._chance = chance
        self._waiting: dict[str, _Waiting] = {}
        self._sending: _Waiting | None = None
        self._told: dict[str, tuple[float, int]] = {}  # by repo, when and at which place of GATHER
        self._failing_since: float | None = None
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._waiting) + (self._sending is not None)

    def add(self, digest: Digest, now: float) -> list[Digest]:
        """Wait with what waits of the same repo. Returns what had to give way."""
        if digest.repo in self._waiting:
            before = self._waiting[digest.repo]
            self._waiting[digest.repo] = before._replace(digest=before.digest.then(digest))
            return []
        place = self._place(digest.repo, now)
        self._waiting[digest.repo] = _Waiting(now + GATHER[place], place, digest)
        dropped = []
        while len(self._waiting) > MOST:
            oldest = min(self._waiting, key=lambda repo: self._waiting[repo].digest.until)
            dropped.append(self._waiting.pop(oldest).digest)
        return dropped

    def take(self, now: float) -> Digest | None:
        """What is to be sent now; sent() or failed() says what became of it."""
        if self._sending or now < self._not_before or not self._waiting:
            return None
        repo = min(self._waiting, key=lambda repo: self._waiting[repo].due)
        if self._waiting[repo].due > now:
            return None
        self._sending = self._waiting.pop(repo)
        return self._sending.digest

    def next(self) -> float | None:
        """When take() will have something; None when not before something is added, sent or has failed."""
        if self._sending or not self._waiting:
            return None
        return max(self._not_before, min(each.due for each in self._waiting.values()))

    def sent(self, now: float) -> None:
        assert self._sending
        self._told = {name: told for name, told in self._told.items() if now - told[0] <= QUIET}
        self._told[self._sending.digest.repo] = (now, self._sending.place)
        self._sending, self._failing_since = None, None

    def failed(self, now: float) -> None:
        """It waits again, with what came meanwhile."""
        assert self._sending
        first, self._sending = self._sending, None
        later = self._waiting.get(first.digest.repo)
        digest = first.digest.then(later.digest) if later else first.digest
        self._waiting[digest.repo] = _Waiting(now, first.place, digest)
        if self._failing_since is None:
            self._failing_since = now
        pause = min(max(BACKOFF[0], (now - self._failing_since) / 4), BACKOFF[1])
        self._not_before = now + pause * (0.5 + self._chance() / 2)

    def expire(self, wall: float) -> list[Digest]:
        """Drop what is too old to be of use, and return it."""
        old = [repo for repo, each in self._waiting.items() if wall - each.digest.until > AGE]
        return [self._waiting.pop(repo).digest for repo in old]

    def digests(self) -> list[Digest]:
        """Return all digests, the one that is being sent included: it may not arrive."""
        digests = {repo: each.digest for repo, each in self._waiting.items()}
        if self._sending:
            first = self._sending.digest
            digests[first.repo] = first.then(digests[first.repo]) if first.repo in digests else first
        return list(digests.values())

    def restore(self, digests: Iterable[Digest]) -> None:
        """Add the digests of before a restart: they have waited long enough."""
        self._waiting = {digest.repo: _Waiting(0.0, 0, digest) for digest in digests}

    def _place(self, repo: str, now: float) -> int:
        at, place = self._told.get(repo, (0.0, -1))
        return min(place + 1, len(GATHER) - 1) if place >= 0 and now - at <= QUIET else 0
