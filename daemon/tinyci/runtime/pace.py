"""A party's share of the processor: what it may cost the loop that serves others as well."""

import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Pace:
    """An account of processor time: `burst` seconds at once, and in the long run `share` of the time. A debt beyond
    another burst is remitted."""

    def __init__(self, burst: float, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._share = share
        self._clock = clock
        self._credit = burst
        self._last = clock()
        self._is_spending = False

    def spend(self, seconds: float) -> None:
        """Take off processor time that the party has cost."""
        now = self._clock()
        credit = min(self._burst, self._credit + (now - self._last) * self._share) - seconds
        self._credit = max(credit, -self._burst)
        self._last = now

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Take off the processor time of the block, which waits for nothing; a block within another counts once."""
        if self._is_spending:
            yield
            return
        self._is_spending, begin = True, time.thread_time()
        try:
            yield
        finally:
            self._is_spending = False
            self.spend(time.thread_time() - begin)

    async def spent_on(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns, and take off all the processor time that its steps take."""
        result: T = await _Steps(coroutine, self)
        return result

    def pause(self) -> float:
        """Return the seconds until the party may cost something again; 0 if it may now."""
        self.spend(0)
        return max(0.0, -self._credit / self._share)


class _Steps:
    """A coroutine, run step by step on somebody's account. While it waits, others have the processor."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], pace: Pace) -> None:
        self._coroutine = coroutine
        self._pace = pace

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self._coroutine.send
        argument: Any = None
        while True:
            with self._pace.spending():
                try:
                    awaited = step(argument)
                except StopIteration as end:
                    return end.value
            try:
                argument, step = (yield awaited), self._coroutine.send
            except BaseException as error:  # a cancellation, for the coroutine to meet
                argument, step = error, self._coroutine.throw
