"""The healthcheck of a container: podman's verdict on it, or a run of tinyci's own where podman's comes too late.

Source: podman-run(1) (--health-cmd and what follows), podman-healthcheck-run(1). `podman healthcheck run` counts in the
streak by which podman calls a container unhealthy, and may have it killed; a command of our own does not.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinyci.model import timespan
from tinyci.model.text import last_words
from tinyci.stage import podman
from tinyci.stage.podman import Container, PodmanError

_PROMPT = 5.0
"""Seconds between two of podman's checks that are worth waiting for."""
_NO_CHECKS = ("", "NONE")
_MOST_TIME = 20.0
"""Seconds that a run of tinyci's own may take at most, less than the daemon's VERIFY_MARGIN."""
_HISTORY = "HEALTHCHECK"


class Healthcheck(NamedTuple):
    """The healthcheck of one container, and its last result."""

    test: tuple[str, ...]
    """`CMD` and the words of a command, or `CMD-SHELL` and a line of the shell."""
    interval: float
    """Seconds between two checks; 0 when podman never makes one."""
    timeout: float
    """Seconds that one may take."""
    status: str
    """`healthy`, `unhealthy` or `starting`."""
    exit_code: int | None = None
    """Of the last check; None when there was none."""
    output: str = ""
    """Of the last check."""

    @classmethod
    def parse(cls, detail: Mapping[str, Any]) -> "Healthcheck | None":
        """Return the healthcheck of a container from `podman container inspect`; None when it has none."""
        config = (detail.get("Config") or {}).get("Healthcheck") or {}
        test = tuple(str(word) for word in config.get("Test") or ("",))
        if test[0] in _NO_CHECKS:
            return None
        state = detail.get("State") or {}
        health = state.get("Health") or state.get("Healthcheck") or {}
        last: Mapping[str, Any] = (health.get("Log") or [{}])[-1]
        return cls(
            test=test,
            interval=_seconds(config.get("Interval")),
            timeout=_seconds(config.get("Timeout")) or _MOST_TIME,
            status=str(health.get("Status") or "starting"),
            exit_code=last.get("ExitCode"),
            output=str(last.get("Output") or ""),
        )

    @property
    def is_prompt(self) -> bool:
        """True if podman itself checks often enough to be waited for."""
        return 0 < self.interval <= _PROMPT

    @property
    def command(self) -> tuple[str, ...]:
        """The command line of the check."""
        if self.test[0] == "CMD":
            return self.test[1:]
        return ("/bin/sh", "-c", " ".join(self.test[1:] if self.test[0] == "CMD-SHELL" else self.test))

    @property
    def result(self) -> str:
        """The last result, as the end of a sentence; empty when there was none."""
        if self.exit_code is None:
            return ""
        words = last_words(self.output.splitlines())
        return f", which exits with status {self.exit_code}" + (f" and prints: {words}" if words else "")


def is_checked(detail: Mapping[str, Any]) -> bool:
    """Return whether a container has a healthcheck."""
    return Healthcheck.parse(detail) is not None


def passes(detail: Mapping[str, Any]) -> bool:
    """Return whether a container's healthcheck passed when podman told this detail of it, or it has none."""
    check = Healthcheck.parse(detail)
    return check is None or check.status == "healthy"


def problem(container: str, title: str) -> str:
    """Return the problem of a container (its id); empty when its healthcheck passes, or it has none. `title`: begins
    the sentence. Raises PodmanError."""
    check = Healthcheck.parse(podman.detail(container))
    if check is None or check.status == "healthy":
        return ""
    if not check.is_prompt:
        check = _run(container, check)
        if not check.exit_code:
            return ""
        pace = f"once in {timespan.show(check.interval)}" if check.interval else "never"
        return f"{title} is unhealthy, says its healthcheck (podman runs it {pace}, so tinyci did){check.result}"
    state = "unhealthy" if check.status == "unhealthy" else f"not healthy yet ({check.status})"
    return f"{title} is {state}, says its healthcheck{check.result}"


def dropped_remark(container: Container, detail: Mapping[str, Any], history: list[str]) -> str:
    """Return a remark on a HEALTHCHECK that the build dropped, since its image format cannot hold it; or empty.
    `history`: instructions of its image, newest first."""
    if (detail.get("Config") or {}).get("Healthcheck") or not _has_healthcheck(history):
        return ""
    return (
        f"the HEALTHCHECK of {container.image_name} is not in the image, so nothing checks {container.name}: "
        "podman build --format docker keeps it, or write HealthCmd= in the Quadlet"
    )


def _has_healthcheck(history: list[str]) -> bool:
    """True if the last instruction on it, in a history with the newest first, asks for a healthcheck."""
    for step in history:
        words = step.removeprefix("/bin/sh -c #(nop)").split()
        if words[:1] == [_HISTORY]:
            return words[1:2] != ["NONE"]
    return False


def _run(container: str, check: Healthcheck) -> Healthcheck:
    """Run the check once, in the container."""
    try:
        code, output = podman.run_in(container, check.command, min(check.timeout, _MOST_TIME))
    except PodmanError as error:
        code, output = -1, str(error)
    return check._replace(exit_code=code, output=output)


def _seconds(nanoseconds: Any) -> float:
    return nanoseconds / 1e9 if isinstance(nanoseconds, int) else 0.0
