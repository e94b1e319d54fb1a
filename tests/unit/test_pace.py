"""A party's share of the processor is what it is said to be, however the party spends it."""

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
