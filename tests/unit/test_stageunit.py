"""The sentence on a stage that failed says why, whoever ended it: the stage, its limits, systemd or a person."""

import pytest
from tinyci.systemd.stageunit import failure_reason
from tinyci.systemd.unit import Unit

NAME = f"tinyci-build@{'0' * 32}.service"


@pytest.mark.parametrize(
    ("state", "result", "code", "status", "text", "sentence"),
    [
        ("active", "success", 1, 0, "", ""),
        ("failed", "exit-code", 1, 3, "failed: ci-build.sh exited with status 3", "ci-build.sh exited with status 3"),
        ("failed", "exit-code", 1, 203, "failed: ci-build.sh exited with status 203", "ci-build.sh exited with"),
        ("failed", "exit-code", 1, 203, "", "systemd could not start the build (status 203, see systemd.exec(5)): is "),
        ("failed", "exit-code", 1, 239, "", "systemd could not start the build (status 239, see systemd.exec(5)): is "),
        ("failed", "exit-code", 1, 1, "", "the build ended with exit-code, status 1"),
        ("failed", "signal", 2, 9, "", "the build ended with signal, status 9"),
        ("failed", "timeout", 2, 15, "", f"the build was stopped by TimeoutStartSec= of {NAME}"),
        ("failed", "oom-kill", 2, 9, "", f"the build ran out of memory (MemoryMax= of {NAME} or the host's)"),
        ("inactive", "success", 0, 0, "", f"{NAME} was stopped by somebody"),
    ],
)
def test_the_reason_of_a_failed_stage(
    state: str, result: str, code: int, status: int, text: str, sentence: str
) -> None:
    properties = {
        "ActiveState": state,
        "Result": result,
        "ExecMainCode": code,
        "ExecMainStatus": status,
        "StatusText": text,
    }
    reason = failure_reason(Unit.parse(NAME, "/", properties))
    assert reason == sentence or (sentence and reason.startswith(sentence))
