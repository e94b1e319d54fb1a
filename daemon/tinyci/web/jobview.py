"""A kept job as it is shown: what its hash says, whatever that is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern

from tinyci.model import timestamp
from tinyci.model.job import is_id
from tinyci.model.repo import is_name
from tinyci.model.state import FINAL, State
from tinyci.web.text import plain

FIELDS = (
    *("repo", "ref", "revision", "previous", "pusher", "state", "success", "reason", "attempt", "exit_status"),
    *("rollback_to", "image", "running_image", "unit", "user", "created", "started", "finished"),
    *("build_started", "restart_started", "build_duration", "restart_duration", "verify_duration", "failure"),
)
"""Fields of the hash."""
LIVE = tuple(str(state) for state in State if state not in FINAL)
STATES = tuple(str(state) for state in State)
SIGNS = {
    **{"queued": "○", "building": "●", "restarting": "●", "verifying": "●", "rolling-back": "●"},
    **{"succeeded": "✓", "failed": "✗", "timed-out": "✗", "rolled-back": "↩", "rejected": "✗"},
    **{"cancelled": "⊘", "superseded": "»", "unknown": "?"},
}
"""Beside the word of a state: its colour is not alone."""
_LATEST = 253402300799.0
"""The last second that a date has."""


@dataclass(frozen=True, slots=True)
class JobView:
    """Texts are one line each and of a moderate length; times are seconds since the epoch, durations seconds."""

    id: str
    repo: str
    ref: str
    revision: str
    previous: str
    pusher: str
    state: str
    """A word of State, or whatever the hash says."""
    success: bool
    reason: str
    attempt: int
    exit_status: int | None
    rollback_to: str
    image: str
    running_image: str
    unit: str
    user: str
    created: float | None
    started: float | None
    finished: float | None
    build_started: float | None
    restart_started: float | None
    build_duration: float | None
    restart_duration: float | None
    verify_duration: float | None
    failure: str
    """Why it was rolled back."""

    @classmethod
    def of(cls, job_id: str, fields: Mapping[str, str] | None, indexed: float | None = None) -> "JobView":
        """`fields` of SHOWN as far as they are there; None for what is no hash. `indexed`: the time in the index."""
        given = fields or {}

        def text(name: str, most: int = 300) -> str:
            return plain(given.get(name, ""), most)

        def time(name: str) -> float | None:
            return _time(given.get(name, ""))

        reason = text("reason", 2000)
        state = text("state", 40) or ("queued" if given else "unknown")
        if fields is None:
            reason = "what Redis has under its key is no hash"
        elif not given:
            reason = "the index names it, and Redis has no more of it"
        created = time("created")
        return cls(
            id=plain(job_id, 64),
            repo=intern(text("repo", 100)),
            ref=intern(text("ref")),
            revision=text("revision", 100),
            previous=text("previous", 100),
            pusher=intern(text("pusher")),
            state=intern(state),
            success=given.get("success") == "true",
            reason=reason,
            attempt=_number(given.get("attempt", "")) or 0,
            exit_status=_number(given.get("exit_status", "")),
            rollback_to=text("rollback_to", 64),
            image=text("image", 1000),
            running_image=text("running_image", 1000),
            unit=text("unit"),
            user=intern(text("user")),
            created=created if created is not None else _sane(indexed),
            started=time("started"),
            finished=time("finished"),
            build_started=time("build_started"),
            restart_started=time("restart_started"),
            build_duration=_duration(given.get("build_duration", "")),
            restart_duration=_duration(given.get("restart_duration", "")),
            verify_duration=_duration(given.get("verify_duration", "")),
            failure=text("failure", 2000),
        )

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def kind(self) -> str:
        """The state as a class for its looks."""
        return self.state if self.state in STATES else "unknown"

    @property
    def is_linked(self) -> bool:
        """Whether it has a page; the index may name anything."""
        return is_id(self.id)

    @property
    def has_repo(self) -> bool:
        """Whether its repo has a page: the hash may name anything."""
        return is_name(self.repo)

    @property
    def short(self) -> str:
        return self.id[:8]

    @property
    def waited(self) -> float | None:
        """From the push to the begin of its build."""
        return _between(self.created, self.started)

    @property
    def took(self) -> float | None:
        """From the begin of its build to its end."""
        return _between(self.started, self.finished)

    @property
    def ref_name(self) -> str:
        """As git shortens it."""
        for prefix in ("refs/heads/", "refs/tags/", "refs/"):
            if self.ref.startswith(prefix):
                return self.ref.removeprefix(prefix)
        return self.ref


def _time(text: str) -> float | None:
    try:
        return _sane(timestamp.seconds(text))
    except (OverflowError, OSError):
        return None


def _sane(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds <= _LATEST else None


def _number(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) < 2**31 else None


def _duration(text: str) -> float | None:
    try:
        duration = float(text)
    except ValueError:
        return None
    return duration if math.isfinite(duration) and 0 <= duration < 1e9 else None


def _between(first: float | None, last: float | None) -> float | None:
    return last - first if first is not None and last is not None and last >= first else None
