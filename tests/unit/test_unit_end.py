"""The end of a unit is told as a person would: how long it ran, and why it is down."""

from typing import Any

import pytest
from tinyci.systemd.unit import Unit
from tinyci.systemd.unitend import cause_of, fall, start_failure

SECOND = 1_000_000
RAN = {"ExecMainStartTimestampMonotonic": 5 * SECOND, "ExecMainExitTimestampMonotonic": 5_400_000}


def unit(**properties: Any) -> Unit:
    return Unit.parse("web.service", "/", properties)


def exited(status: int, **more: Any) -> Unit:
    state = {"ActiveState": "failed", "Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": status}
    return unit(**state | RAN | more)


@pytest.mark.parametrize(
    ("down", "sentence"),
    [
        (exited(3), "web.service fell 0.4 s after its restart: its main process exited with status 3"),
        (
            exited(203),
            "web.service fell 0.4 s after its restart: its program cannot be executed (ExecStart=), status 203",
        ),
        (
            unit(ActiveState="failed", Result="signal", ExecMainCode=2, ExecMainStatus=9),
            "web.service fell after its restart: its main process was killed by SIGKILL",
        ),
        (
            unit(ActiveState="failed", Result="core-dump", ExecMainCode=3, ExecMainStatus=11, **RAN),
            "web.service fell 0.4 s after its restart: its main process crashed with SIGSEGV",
        ),
        (
            unit(ActiveState="failed", Result="timeout", TimeoutStartUSec=90 * SECOND),
            "web.service fell after its restart: it ran too long (RuntimeMaxSec=), or did not end when told to",
        ),
        (
            unit(ActiveState="failed", Result="oom-kill", ExecMainCode=2, ExecMainStatus=9),
            "web.service fell after its restart: it ran out of memory",
        ),
        (
            unit(ActiveState="failed", Result="exit-code"),
            "web.service fell after its restart: a command beside its main process failed (ExecStartPre=, "
            "ExecStartPost=, ExecStop=)",
        ),
        (
            exited(3, ActiveState="activating", SubState="auto-restart"),
            "web.service fell 0.4 s after its restart: its main process exited with status 3",
        ),
        (
            unit(ActiveState="activating", SubState="auto-restart", NRestarts=3),
            "web.service fell after its restart, and systemd has started it 3 times since",
        ),
        (
            unit(ActiveState="inactive", Result="success", ExecMainCode=1, **RAN),
            "web.service ended 0.4 s after its restart: its main process exited with status 0, and a service has to "
            "stay up (one that does its work and ends is Type=oneshot)",
        ),
        (
            unit(ActiveState="inactive", ConditionTimestampMonotonic=SECOND, ConditionResult=False),
            "web.service was not started: a condition in its file is not met (Condition...=)",
        ),
        (
            unit(ActiveState="inactive", Result="success"),
            "web.service did not stay up after its restart: it ended without an error, or was stopped, and a service "
            "has to stay up (one that does its work and ends is Type=oneshot)",
        ),
        (
            unit(ActiveState="inactive", Result="success", ExecMainCode=2, ExecMainStatus=15, InvocationID=b"x" * 16),
            "web.service is down: it was stopped after its restart",
        ),
    ],
)
def test_a_fall_says_when_and_why(down: Unit, sentence: str) -> None:
    assert fall(down) == sentence


@pytest.mark.parametrize(
    ("down", "result", "sentence"),
    [
        (exited(4), "failed", "web.service did not start: its main process exited with status 4"),
        (
            unit(),
            "canceled",
            "the restart of web.service was cancelled by somebody, who started or stopped it meanwhile",
        ),
        (
            unit(Result="timeout", TimeoutStartUSec=90 * SECOND),
            "failed",
            "web.service did not start: it was not ready in time (TimeoutStartSec=1min 30s)",
        ),
        (
            unit(Result="start-limit-hit"),
            "failed",
            "web.service did not start: it was started too often in a short time (StartLimitBurst=)",
        ),
        (unit(Result="success"), "frozen", "web.service did not start: its restart ended with frozen"),
    ],
)
def test_a_start_that_failed_says_why(down: Unit, result: str, sentence: str) -> None:
    assert start_failure(down, result) == sentence


def test_each_result_of_systemds_has_a_cause_that_is_no_result() -> None:
    results = (
        *("protocol", "timeout", "exit-code", "signal", "core-dump", "watchdog", "start-limit-hit"),
        *("resources", "oom-kill"),
    )
    for result in results:
        cause = cause_of(unit(ActiveState="failed", Result=result))
        assert cause and cause != result


@pytest.mark.parametrize(
    ("state", "is_well"),
    [
        ({"Type": "oneshot"}, True),
        ({"Type": "oneshot", "Result": "exec-condition"}, True),
        ({"Type": "oneshot", "Result": "exit-code"}, False),
        ({"Type": "oneshot", "Job": (1, "/job/1")}, False),
        ({"Type": "oneshot", "ActiveState": "failed"}, False),
        ({"Type": "simple"}, False),
        ({"Type": "simple", "StopWhenUnneeded": True}, True),
        ({"Type": "simple", "TriggeredBy": ["web.socket"]}, True),
        ({"Type": "simple", "TriggeredBy": ["web.socket"], "Result": "exit-code"}, False),
        ({"Type": "simple", "TriggeredBy": ["web.socket"], "ConditionTimestampMonotonic": 1}, False),
    ],
)
def test_a_unit_ends_well_by_design_alone(state: dict[str, Any], is_well: bool) -> None:  # noqa: FBT001
    assert unit(**{"ActiveState": "inactive", "Result": "success", **state}).has_ended_well is is_well
