"""An event loop in virtual time: it never waits; the clock jumps to the next scheduled callback."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

MAX_TURNS = 20_000
"""Turns without any time passing, after which the loop must be going round in a circle."""


class HangsError(Exception):
    """Something that should end does not."""


class _Clock(selectors.DefaultSelector):
    """A selector without input and output: all that the loop can wait for is the time."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise HangsError("everybody waits for somebody else")
        self.turns = 0 if timeout > 0 else self.turns + 1
        if self.turns > MAX_TURNS:
            raise HangsError(f"{MAX_TURNS} turns, and no time has passed")
        self.time += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that runs only as far as a test tells it to."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.time

    def turn(self, times: int = 1) -> None:
        """Call what is ready, `times` times."""
        for _ in range(times):
            self.stop()  # before run_forever() it means: after one turn
            self.run_forever()

    def sleep(self, seconds: float) -> None:
        """Let time pass, with all that happens in it."""
        self.call_later(seconds, self.stop)
        self.run_forever()

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 1.0) -> None:
        """Let time pass until the condition is true. Raises HangsError when it is not within `limit` seconds."""
        end = self.time() + limit
        while not condition():
            if self.time() >= end:
                raise HangsError(f"not within {limit:g} s")
            self.sleep(step)
