"""What a job is, and which state may follow which."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from tinyci.model.repo import is_name


class State(StrEnum):
    """The states of a job, by the words that Redis, D-Bus and the journal use."""

    QUEUED = "queued"
    BUILDING = "building"
    RESTARTING = "restarting"
    VERIFYING = "verifying"
    ROLLING_BACK = "rolling-back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled-back"


_S = State
NEXT: Mapping[State, frozenset[State]] = {
    # To `failed`: the build could not even be begun (no gate, no manager), or no attempt is left.
    _S.QUEUED: frozenset({_S.BUILDING, _S.SUPERSEDED, _S.CANCELLED, _S.REJECTED, _S.FAILED}),
    # To itself: a build that a reboot cut off begins again. To `rejected`: the stage found no such revision.
    # To `succeeded`: a repo without units is deployed when it is built.
    _S.BUILDING: frozenset(
        {_S.BUILDING, _S.RESTARTING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.TIMED_OUT, _S.REJECTED}
    ),
    # To `failed`: there is nothing to roll back to.
    _S.RESTARTING: frozenset({_S.VERIFYING, _S.ROLLING_BACK, _S.FAILED}),
    _S.VERIFYING: frozenset({_S.SUCCEEDED, _S.ROLLING_BACK, _S.FAILED}),
    _S.ROLLING_BACK: frozenset({_S.ROLLED_BACK, _S.FAILED}),
    **{
        final: frozenset()
        for final in (
            _S.SUCCEEDED,
            _S.FAILED,
            _S.CANCELLED,
            _S.TIMED_OUT,
            _S.SUPERSEDED,
            _S.REJECTED,
            _S.ROLLED_BACK,
        )
    },
}
FINAL = frozenset(state for state, after in NEXT.items() if not after)

TIP = "tip"
"""Instead of a revision, until the build stage has looked: what the ref is at when the build begins."""

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)
_REVISION = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
# git-check-ref-format(1), shortened to what can hurt: control characters, blanks, and what revisions are made of.
_REF = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]{1,250}", re.ASCII)


class JobError(Exception):
    """A job that cannot be run at all; the text is its reason."""


@dataclass(frozen=True)
class Job:
    """One push of one ref of a repo: what never changes while it runs, and how far it was when it was read."""

    id: str
    """A UUID in its usual form: lower case, with dashes."""
    repo: str
    ref: str
    revision: str
    """Full object name, 40 or 64 hexadecimal digits, or TIP."""
    created: str = ""
    state: State = State.QUEUED
    attempt: int = 0
    build_started: str = ""
    """When the last attempt began."""
    log_from: int = 0
    """Lines of the log that belong to earlier attempts."""
    restarting: str = ""
    """The unit whose restart was issued last, with the InvocationID it had before: `UNIT ID`."""
    intent: str = ""
    """Set before the build is stopped: the state that it ends in then, `cancelled` or `timed-out`."""
    rollback_to: str = ""
    """Instead of a build: id of the job whose images are deployed again."""
    restart_started: str = ""
    """When the first restart began; what the units have said since belongs to this job."""
    dependents: tuple[str, ...] = ()
    """Units that were active before the restart, and that a failed restart of the repo's units stops."""
    failure: str = ""
    """Why the job is being rolled back."""
    unit_output: str = ""
    """What the unit that failed said last."""

    @property
    def hex(self) -> str:
        """The id without dashes: instance of its units, name of its job file and of its D-Bus object."""
        return self.id.replace("-", "")

    def unit(self, stage: str) -> str:
        """The unit of one of its stages: `build`, `verify`, `rollback`."""
        return f"tinyci-{stage}@{self.hex}.service"

    @classmethod
    def parse(cls, job_id: str, fields: Mapping[str, str]) -> "Job":
        """The job of a hash in Redis. Raises JobError when it says nothing that could be run."""
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
        if rollback_to and not is_id(rollback_to):
            raise JobError(f"rollback_to {rollback_to[:64]!r} is not a job id: expected a UUID in lower case")
        try:
            state = State(fields.get("state", State.QUEUED))
            attempt = int(fields.get("attempt", "0"))
            log_from = int(fields.get("log_from", "0"))
        except ValueError:
            raise JobError("the hash has a state, attempt or log_from that tinyci does not know") from None
        return cls(
            id=job_id,
            repo=repo,
            ref=ref,
            revision=revision,
            created=fields.get("created", ""),
            state=state,
            attempt=attempt,
            build_started=fields.get("build_started", ""),
            log_from=log_from,
            restarting=fields.get("restarting", ""),
            intent=fields.get("intent", ""),
            rollback_to=rollback_to,
            restart_started=fields.get("restart_started", ""),
            dependents=tuple(fields.get("dependents", "").split()),
            failure=fields.get("failure", ""),
            unit_output=fields.get("unit_output", ""),
        )


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def is_revision(text: str) -> bool:
    return _REVISION.fullmatch(text) is not None and text.strip("0") != ""


def check_step(before: State, after: State) -> None:
    """Raise ValueError for a step that the table does not have: a defect of ours, never of a job's."""
    if after not in NEXT[before]:
        raise ValueError(f"a job cannot go from {before} to {after}")


def now() -> str:
    return stamp(time.time())


def stamp(seconds: float) -> str:
    """ISO 8601 in UTC with microseconds, as every time in a job's hash; of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(stamp: str) -> float | None:
    """Seconds since the epoch of a time as stamp() writes it; None for what is none."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None
