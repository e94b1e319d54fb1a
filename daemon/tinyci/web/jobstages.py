"""Stages of one job, from the queue to a rollback, as its page shows them."""

from typing import NamedTuple

from tinyci.model.state import TABLE, State
from tinyci.web.jobview import JobView
from tinyci.web.text import iso, took

STAGES = tuple(dict.fromkeys(row.stage for row in TABLE.values() if row.stage))
"""In the order of a job's life."""
_ROLLBACK = TABLE[State.ROLLING_BACK].stage


class Stage(NamedTuple):
    """One stage of a job."""

    name: str
    status: str
    """`waiting`, `now`, `done`, `failed` or `skipped`."""
    took: str
    """Its length for a person, when it has ended."""
    since: str
    """Its begin in ISO 8601, while the job is in it."""


def stages(job: JobView) -> list[Stage]:
    """One for each of STAGES."""
    lengths = {"queue": job.waited, "build": job.build_duration}
    lengths |= {"restart": job.restart_duration, "verify": job.verify_duration}
    starts = {"queue": job.created, "build": job.build_started, "restart": job.restart_started}
    return [_stage(job, name, lengths.get(name), starts.get(name)) for name in STAGES]


def _stage(job: JobView, name: str, length: float | None, start: float | None) -> Stage:
    status = _status(job, name, length)
    return Stage(
        name,
        status,
        took="" if status in ("now", "waiting") else took(length),
        since=iso(start) if status == "now" else "",
    )


def _status(job: JobView, name: str, length: float | None) -> str:
    if name == job.stage:
        return "now"
    failed_stage = _failed_stage(job)
    if name == failed_stage:
        return "failed"
    if name == _ROLLBACK:
        return _rollback_status(job)
    if job.stage:
        return "done" if _is_before(name, job.stage) else "waiting"
    if job.is_good:
        return "done" if length is not None else "skipped"
    if job.is_final:
        return "done" if failed_stage and _is_before(name, failed_stage) else "skipped"
    return "waiting"


def _rollback_status(job: JobView) -> str:
    if job.state == State.ROLLED_BACK:
        return "done"
    return "failed" if job.failure else "skipped"


def _failed_stage(job: JobView) -> str:
    """The stage that failed, or in which people ended the job; empty when there is none."""
    if not (job.is_final or job.failure) or job.is_good:
        return ""
    if job.restart_started is not None:
        return "verify" if job.restart_duration is not None else "restart"
    return "build" if job.build_started is not None else "queue"


def _is_before(one: str, other: str) -> bool:
    return STAGES.index(one) < STAGES.index(other)
