"""A party's share of the processor is what it is said to be, however the party spends it."""

import asyncio
import time

import pytest
from tinyci.runtime.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_free(clock: Clock) -> None:
    pace = Pace(0.5, 0.25, clock)
    for _ in range(5):
        assert pace.pause() == 0
        pace.spend(0.1)
    assert pace.pause() == 0


def test_who_goes_on_gets_the_share(clock: Clock) -> None:
    pace = Pace(0.5, 0.25, clock)
    used, begin = 0.0, clock.now
    while clock.now < begin + 100:
        pace.spend(0.01)
        used += 0.01
        clock.now += 0.01 + pace.pause()
    assert used == pytest.approx(0.5 + 100 * 0.25, rel=0.01)


def test_who_rests_has_one_burst_again_and_no_more(clock: Clock) -> None:
    pace = Pace(0.5, 0.25, clock)
    pace.spend(10)
    assert pace.pause() == pytest.approx(2), "a debt is at most a burst"
    clock.now += 1000
    pace.spend(0.5)
    assert pace.pause() == 0
    pace.spend(0.1)
    assert pace.pause() == pytest.approx(0.4)


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_all_steps_of_a_coroutine_are_on_the_account_and_those_of_others_are_not() -> None:
    async def work() -> str:
        burn(0.02)
        await asyncio.sleep(0)
        with pace.spending():  # counts once
            burn(0.02)
        await asyncio.sleep(0)
        burn(0.02)
        return "done"

    async def others() -> None:
        burn(0.1)

    clock = Clock()
    pace = Pace(0.05, 1, clock)
    assert (await asyncio.gather(pace.spent_on(work()), others()))[0] == "done"
    assert pace.pause() == pytest.approx(0.01, abs=0.005)


async def test_a_coroutine_on_an_account_meets_its_cancellation_and_its_errors() -> None:
    pace, seen = Pace(1, 1), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
            raise

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("as it is")

    task = asyncio.create_task(pace.spent_on(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]
    with pytest.raises(ValueError, match="as it is"):
        await pace.spent_on(fail())
