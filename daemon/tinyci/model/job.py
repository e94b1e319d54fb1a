"""A job: one push of one ref of a repo."""

import re
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any, NamedTuple

from tinyci.model import timestamp
from tinyci.model.fields import HOOK_FIELDS
from tinyci.model.repo import is_name, is_unit_name
from tinyci.model.rollback import PREVIOUS
from tinyci.model.state import State

TIP = "tip"
"""Stands for the revision that the ref is at when the build begins, until the build stage has found it out."""

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)
_REVISION = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
# git-check-ref-format(1), shortened to the harmful: control characters, blanks, and the syntax of revisions.
_REF = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]{1,250}", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)


ID_MAX = 64
"""Characters of the id of any job, at most: a longer text is none that somebody meant."""


class JobError(Exception):
    """A job that cannot be run at all; the text is its reason."""


# A stage imports this file at its start, hence no dataclass (19 ms).
class Job(NamedTuple):
    """The part of a job's hash (model/fields.py) that the daemon goes by."""

    id: str
    """A UUID in its usual form: lower case, with dashes."""
    repo: str
    ref: str
    revision: str
    """Full object name, 40 or 64 hexadecimal digits, or TIP."""
    created: str = ""
    """Timestamp of the push (model/timestamp.py), by the clock of the host; empty for none."""
    moment: str = ""
    """Moment of the push (model/moment.py); empty for none."""
    state: State = State.QUEUED
    attempt: int = 0
    invocation_id: str = ""
    """Of the build's unit in this attempt; empty while it was not seen to run."""
    build_started: str = ""
    log_from: int = 0
    restarting: str = ""
    """The unit whose restart was issued last, with the InvocationID it had before: `UNIT ID`."""
    intent: str = ""
    """Set before the build is stopped: `cancelled` or `timed-out`."""
    rollback_to: str = ""
    retry_of: str = ""
    restart_started: str = ""
    """Begin of this job's lines in the journals of its units."""
    dependents: tuple[str, ...] = ()
    """Units that a failed restart of the repo's units stops."""
    failure: str = ""
    unit_output: str = ""

    @property
    def hex(self) -> str:
        """The id without dashes: instance of its units, name of its job file and of its D-Bus object."""
        return self.id.replace("-", "")

    @property
    def deploys_tip(self) -> bool:
        """True for a push, and for a request to deploy what a ref is at; False for one that repeats another job or
        goes back to it. Only the former makes older ones needless."""
        return not (self.rollback_to or self.retry_of)

    @classmethod
    def parse(cls, job_id: str, fields: Mapping[str, str]) -> "Job":
        """Return the job of a hash in Redis. Raises JobError when it cannot be run."""
        if not is_id(job_id):
            raise JobError(f"{job_id[:64]!r} is not a job id: expected a UUID in lower case")
        if not fields:
            raise JobError("the id was queued without a hash that says what to deploy")
        repo, ref, revision = (fields.get(name, "") for name in ("repo", "ref", "revision"))
        if not is_name(repo):
            raise JobError(f"repo {repo[:64]!r} is not the name of a repo")
        if not _REF.fullmatch(ref) or ".." in ref or ref.endswith(("/", ".", ".lock")):
            raise JobError(f"ref {ref[:64]!r} is not the full name of a ref, such as refs/heads/main")
        if not is_revision(revision) and revision != TIP:
            raise JobError(
                f"revision {revision[:64]!r} is not a full object name: 40 or 64 hexadecimal digits, nor {TIP!r}"
            )
        rollback_to = fields.get("rollback_to", "")
        if rollback_to and rollback_to != PREVIOUS and not is_id(rollback_to):
            raise JobError(f"rollback_to {rollback_to[:64]!r} is not a job id: expected a UUID in lower case")
        try:
            return cls(job_id, repo, ref, revision).with_fields(fields)
        except ValueError:
            raise JobError("the hash has a state, number, intent or unit that tinyci does not know") from None

    def with_fields(self, fields: Mapping[str, str]) -> "Job":
        """Return the job after a write of these fields. Raises ValueError for what the daemon does not write."""
        attributes = {name: _PARSERS.get(name, str)(text) for name, text in fields.items() if name in _ATTRIBUTES}
        return self._replace(**attributes)


_ATTRIBUTES = frozenset(Job._fields) - {"id"}


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise ValueError("expected a number of few digits")
    return int(text)


def _units(text: str) -> tuple[str, ...]:
    names = tuple(text.split())
    if not all(map(is_unit_name, names)):
        raise ValueError("expected names of units")
    return names


def _restarting(text: str) -> str:
    if text and not is_unit_name(text.partition(" ")[0]):
        raise ValueError("expected the name of a unit")
    return text


def _intent(text: str) -> str:
    if text not in ("", State.CANCELLED, State.TIMED_OUT):
        raise ValueError("expected a state that a stopped build ends in")
    return text


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "state": State,
    # Many jobs that wait have these in common, and memory for each would be much.
    "repo": intern,
    "ref": intern,
    # Shell scripts queue jobs too, and times are compared with each other.
    "created": lambda text: text if timestamp.seconds(text) is not None else "",
    "attempt": _count,
    "log_from": _count,
    "dependents": _units,
    "restarting": _restarting,
    "intent": _intent,
}


def fields_of_hook(values: Mapping[str, str | None], now: float) -> dict[str, str]:
    """Return the fields of a new job: those that the hook writes, and of its time only one that has been.

    `now`: seconds since the epoch.
    """
    fields = {name: text for name in HOOK_FIELDS if (text := values.get(name))}
    if created := fields.pop("created", ""):
        seconds = timestamp.seconds(created)
        if seconds is not None and seconds <= now:
            fields["created"] = timestamp.stamp(seconds)
    return fields


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def is_revision(text: str) -> bool:
    return _REVISION.fullmatch(text) is not None and text.strip("0") != ""
