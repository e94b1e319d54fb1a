"""A party's share of the processor: what it may cost the loop that serves others as well."""

import time
from collections.abc import Callable


class Pace:
    """An account of processor time: `burst` seconds at once, and in the long run `share` of the time. A debt beyond
    another burst is remitted."""

    def __init__(self, burst: float, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._share = share
        self._clock = clock
        self._credit = burst
        self._last = clock()

    def spend(self, seconds: float) -> None:
        """Take off processor time that the party has cost."""
        now = self._clock()
        credit = min(self._burst, self._credit + (now - self._last) * self._share) - seconds
        self._credit = max(credit, -self._burst)
        self._last = now

    def pause(self) -> float:
        """Return the seconds until the party may cost something again; 0 if it may now."""
        self.spend(0)
        return max(0.0, -self._credit / self._share)
