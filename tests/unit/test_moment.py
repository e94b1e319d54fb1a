"""The order of pushes is known whatever was done to the clock of the host."""

import time
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model.moment import Moment, Now, is_older
from tinyci.model.timestamp import stamp
from tinyci.runtime import clock

BOOT, OTHER_BOOT, THIRD_BOOT = "a" * 32, "b" * 32, "c" * 32
NOW = Now(1_000_000.0, Moment(BOOT, 1000.0))


class Push(NamedTuple):
    created: str
    moment: str = ""


def push(time: float, boot: str = "", seconds: float = 0.0) -> Push:
    return Push(stamp(time), str(Moment(boot, seconds)) if boot else "")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (push(900_000), push(900_001)),
        (push(900_000, BOOT, 1), push(100, BOOT, 2)),
        (push(900_000, OTHER_BOOT, 500), push(100, BOOT, 2)),
        (push(100, OTHER_BOOT, 500), push(900_000, THIRD_BOOT, 2)),
        (push(2_000_000), push(900_000)),
        (Push("whatever"), push(900_000)),
        (Push("zzz", "zzz"), push(900_000, BOOT, 1)),
        (push(800_000, BOOT, 1001), push(900_000, BOOT, 1)),
    ],
    ids=["by time", "in one boot", "in this boot", "of boots before", "to come", "no time", "no moment", "no past"],
)
def test_which_push_is_older(older: Push, newer: Push) -> None:
    assert is_older(older, newer, NOW)
    assert not is_older(newer, older, NOW)


@given(st.text() | st.from_regex(r"[0-9a-f]{32} [0-9.e+-]{1,20}", fullmatch=True))
def test_any_text_is_a_moment_or_none(text: str) -> None:
    moment = Moment.parse(text)
    assert moment is None or Moment.parse(str(moment)) == moment
    assert NOW.age(900_000.0, text) >= 0


def test_the_hosts_moment_is_of_this_boot_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    first = clock.moment()
    assert Moment.parse(str(first)) == (first.boot_id, pytest.approx(first.seconds))
    assert abs(first.seconds - time.clock_gettime(time.CLOCK_BOOTTIME)) < 10.0
    assert clock.moment().seconds >= first.seconds
    monkeypatch.setenv("TINYCI_BOOT_ID", BOOT)
    assert clock.moment().boot_id == BOOT
