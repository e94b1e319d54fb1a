"""The diagnosis of a user's manager that cannot be reached names the command that mends it."""

import pytest
from tinyci.systemd.managerdiagnosis import explain_absence
from tinyci.systemd.unit import NO_JOB, Unit


def unit(name: str, state: str = "active", load: str = "loaded", result: str = "success") -> Unit:
    return Unit(
        name=name,
        path="/",
        load_state=load,
        active_state=state,
        sub_state="",
        job=NO_JOB,
        invocation_id="",
        result=result,
        exit_code=0,
        exit_status=0,
        restarts=0,
        status_text="",
        dependents=(),
        start_time=0.0,
    )


def service(state: str = "active", **other: str) -> Unit:
    return unit("user@7.service", state, **other)


def gate(state: str = "active", **other: str) -> Unit:
    return unit("tinyci-gate@7.service", state, **other)


@pytest.mark.parametrize(
    ("is_lingering", "service", "gate", "advice"),
    [
        (False, service("inactive"), gate("inactive"), "run 'loginctl enable-linger web'"),
        (True, service("inactive"), gate("inactive"), "is not up: run 'systemctl start user@7.service'"),
        (
            *(True, service("inactive", load="masked"), gate("inactive")),
            "is masked: run 'systemctl unmask user@7.service && systemctl start user@7.service'",
        ),
        (
            *(True, service("failed", result="signal"), gate("inactive")),
            "has failed (signal): run 'systemctl restart user@7.service'; 'journalctl -u user@7.service' tells why",
        ),
        (True, service(), gate("inactive"), "has no gate: run 'systemctl enable --now tinyci-gate@7.service'"),
        (False, service(), gate("inactive"), "has no gate: run 'systemctl enable --now tinyci-gate@7.service'"),
        (
            *(True, service(), gate("inactive", load="masked")),
            "is masked: run 'systemctl unmask tinyci-gate@7.service && systemctl start tinyci-gate@7.service'",
        ),
        (
            *(True, service(), gate("failed", result="exit-code")),
            "has failed (exit-code): run 'systemctl restart tinyci-gate@7.service'",
        ),
        (True, service("activating"), gate("inactive"), "does not answer: look at 'systemctl status user@7.service'"),
        (True, service(), gate(), "does not answer: look at 'systemctl status user@7.service' (silence)"),
    ],
)
def test_what_is_missing_is_named_with_what_mends_it(
    service: Unit, gate: Unit, advice: str, *, is_lingering: bool
) -> None:
    sentence = explain_absence("web", service, gate, "silence", is_lingering=is_lingering)
    assert advice in sentence
    assert "user web" in sentence
