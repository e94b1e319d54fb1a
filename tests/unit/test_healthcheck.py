"""The healthcheck of a container: what podman knows of it, and what is said of it."""

from typing import Any

import pytest
from tinyci.stage import healthcheck, podman
from tinyci.stage.healthcheck import Healthcheck
from tinyci.stage.podman import Container

WEB = Container("c" * 64, "web", "web.service", "localhost/web:latest", "a" * 64, "running")
WHO = "container web of web.service"


def detail(status: str = "", interval: int = 1, test: tuple[str, ...] = ("CMD", "true"), *log: Any) -> dict[str, Any]:
    health = {"Status": status, "Log": list(log)} if status else None
    return {
        "Config": {"Healthcheck": {"Test": list(test), "Interval": interval * 10**9, "Timeout": 2 * 10**9}},
        "State": {"Health": health},
    }


FAILED = {"ExitCode": 3, "Output": "one\ntwo\n\nthree\x1b[1m\n"}


@pytest.mark.parametrize(
    ("inspected", "problem"),
    [
        (detail("healthy"), ""),
        ({"Config": {}}, ""),
        (detail(test=("NONE",)), ""),
        (
            detail("unhealthy", 1, ("CMD", "x"), {"ExitCode": 0, "Output": ""}, FAILED),
            f"{WHO} is unhealthy, says its healthcheck, which exits with status 3 and prints: two / three\\x1b[1m",
        ),
        (detail("starting"), f"{WHO} is not healthy yet (starting), says its healthcheck"),
        # podman 4.3 has another name for it.
        (
            {**detail(), "State": {"Healthcheck": {"Status": "unhealthy", "Log": None}}},
            f"{WHO} is unhealthy, says its healthcheck",
        ),
    ],
)
def test_the_verdict_of_podman_is_told(
    monkeypatch: pytest.MonkeyPatch, inspected: dict[str, Any], problem: str
) -> None:
    monkeypatch.setattr(podman, "detail", lambda _: inspected)
    assert healthcheck.problem(WEB.id, WHO) == problem
    assert healthcheck.passes(inspected) is (not problem)


@pytest.mark.parametrize(("interval", "pace"), [(0, "never"), (600, "once in 10min")])
def test_a_check_that_podman_makes_too_seldom_is_run(monkeypatch: pytest.MonkeyPatch, interval: int, pace: str) -> None:
    commands: list[tuple[tuple[str, ...], float]] = []

    def run(container: str, command: tuple[str, ...], timeout: float) -> tuple[int, str]:
        commands.append((command, timeout))
        return len(commands) % 2, "no\n"

    monkeypatch.setattr(podman, "detail", lambda _: detail("starting", interval, ("CMD-SHELL", "test -e /up")))
    monkeypatch.setattr(podman, "run_in", run)
    assert healthcheck.problem(WEB.id, WHO) == (
        f"{WHO} is unhealthy, says its healthcheck (podman runs it {pace}, so tinyci did), which exits with status 1 "
        "and prints: no"
    )
    assert healthcheck.problem(WEB.id, WHO) == ""
    assert commands == [(("/bin/sh", "-c", "test -e /up"), 2.0)] * 2


def test_a_check_is_run_as_podman_would() -> None:
    def command(*test: str) -> tuple[str, ...]:
        check = Healthcheck.parse(detail(test=test))
        assert check
        return check.command

    assert command("CMD", "/bin/x", "a b") == ("/bin/x", "a b")
    assert command("CMD-SHELL", "x | y") == ("/bin/sh", "-c", "x | y")


@pytest.mark.parametrize(
    ("history", "has_remark"),
    [
        (['/bin/sh -c #(nop) CMD ["x"]', '/bin/sh -c #(nop) HEALTHCHECK CMD ["/bin/busybox","false"]', "COPY"], True),
        (['HEALTHCHECK &{["CMD" "x"]}'], True),
        (["/bin/sh -c #(nop) HEALTHCHECK NONE", "/bin/sh -c #(nop) HEALTHCHECK CMD x"], False),
        (["/bin/sh -c echo HEALTHCHECK"], False),
        ([], False),
    ],
)
def test_a_healthcheck_that_is_in_the_history_alone_was_dropped(history: list[str], *, has_remark: bool) -> None:
    image = {"History": [{"created_by": step} for step in reversed(history)]}
    remark = healthcheck.dropped_remark(WEB, {"Config": {}}, podman.history(image))
    assert remark.startswith("the HEALTHCHECK of localhost/web:latest is not in the image") is has_remark
    assert healthcheck.dropped_remark(WEB, detail("healthy"), history) == "", "it has one, say of its Quadlet's"
