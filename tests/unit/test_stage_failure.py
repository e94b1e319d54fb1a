"""The sentence on a stage that systemd ended is true, and says what to do."""

import pytest
from tinyci.model.stagecontract import unit_name
from tinyci.systemd.stageunit import failure_reason
from tinyci.systemd.unit import Unit

VERIFY = unit_name("verify", "0" * 32)
HOUR = 3600 * 1_000_000


@pytest.mark.parametrize(
    ("end", "limit", "state", "sentence"),
    [
        (HOUR, HOUR, "failed", f"the verify was stopped by TimeoutStartSec= of {VERIFY}: 'tinyci doctor' says how"),
        (60_000_000, HOUR, "failed", f"{VERIFY} was stopped by somebody, and did not end within its TimeoutStopSec="),
        (60_000_000, 2**64 - 1, "failed", f"{VERIFY} was stopped by somebody, and did not end within"),
        (HOUR, HOUR, "active", ""),
    ],
)
def test_why_a_stage_was_ended_by_time(end: int, limit: int, state: str, sentence: str) -> None:
    begin = 5_000_000
    properties = {
        "ActiveState": state,
        "Result": "timeout",
        "InactiveExitTimestampMonotonic": begin,
        "ExecMainExitTimestampMonotonic": begin + end + 1,
        "TimeoutStartUSec": limit,
    }
    reason = failure_reason(Unit.parse(VERIFY, "/", properties))
    assert reason.startswith(sentence)
    assert bool(reason) == bool(sentence)
