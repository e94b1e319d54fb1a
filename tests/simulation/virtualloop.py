"""An event loop in virtual time: nothing waits, the clock goes on to the next thing that is to happen."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

BUSY = 20_000
"""Turns without any time passing, after which somebody must be going round in a circle."""


class HangsError(Exception):
    """What should come to an end does not."""


class _Clock(selectors.DefaultSelector):
    """There is no input and no output, so all that a loop can wait for is the time."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise HangsError("everybody waits for somebody else")
        self.turns = 0 if timeout > 0 else self.turns + 1
        if self.turns > BUSY:
            raise HangsError(f"{BUSY} turns, and no time has passed")
        self.time += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs only when it is told to, and as far as it is told to."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.time

    def turn(self, times: int = 1) -> None:
        """Call what is ready, and then what that made ready, and so on."""
        for _ in range(times):
            self.stop()  # before run_forever() it means: after one turn
            self.run_forever()

    def sleep(self, seconds: float) -> None:
        """Let that time pass, with all that happens in it."""
        self.call_later(seconds, self.stop)
        self.run_forever()

    def until(self, is_so: Callable[[], bool], limit: float, step: float = 1.0) -> None:
        """Let time pass until something is so. Raises Hangs when it is not within `limit` seconds."""
        end = self.time() + limit
        while not is_so():
            if self.time() >= end:
                raise HangsError(f"not within {limit:g} s")
            self.sleep(step)
