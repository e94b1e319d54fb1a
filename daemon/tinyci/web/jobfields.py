"""What is told of one job: its facts and its stages, the same on the page, in JSON and in events."""

from collections.abc import Mapping
from typing import Any

from tinyci.web.jobview import SIGNS, JobView
from tinyci.web.text import iso, sendable, took, utc

STAGES = ("queue", "build", "restart", "verify", "rollback")
_NOW = {"queued": "queue", "building": "build", "restarting": "restart", "verifying": "verify"}
_NOW |= {"rolling-back": "rollback"}
FACTS = (
    *("repo", "ref", "revision", "previous", "pusher", "rollback_to", "created", "started", "finished"),
    *("took", "attempt", "exit_status", "image", "unit", "user"),
)
"""Names, in the order in which they are told."""
LABELS = {
    **{"repo": "Repo", "ref": "Ref", "revision": "Revision", "previous": "Before it", "pusher": "By"},
    **{"rollback_to": "Deploys again", "created": "Created", "started": "Started", "finished": "Finished"},
    **{"took": "Took", "attempt": "Attempt", "exit_status": "Exit status", "image": "Runs image"},
    **{"unit": "Build unit", "user": "User"},
}


def facts(row: JobView) -> dict[str, str]:
    """By FACTS; empty texts for what is not known."""
    return {
        "repo": row.repo,
        "ref": row.ref,
        "revision": row.revision,
        "previous": row.previous if row.previous.strip("0") else "",
        "pusher": row.pusher,
        "rollback_to": row.rollback_to,
        "created": utc(row.created),
        "started": utc(row.started),
        "finished": utc(row.finished),
        "took": took(row.took),
        "attempt": str(row.attempt) if row.attempt > 1 else "",
        "exit_status": str(row.exit_status) if row.exit_status is not None else "",
        "image": row.running_image or row.image,
        "unit": row.unit,
        "user": row.user,
    }


def times(row: JobView) -> dict[str, str]:
    """Those of FACTS that are times, for a program."""
    return {"created": iso(row.created), "started": iso(row.started), "finished": iso(row.finished)}


def stages(row: JobView) -> list[dict[str, str]]:
    """Each of STAGES with `status` (waiting, now, done, failed, skipped), `took` and, for the one that goes on,
    `since` (ISO 8601)."""
    lengths = {"queue": row.waited, "build": row.build_duration, "restart": row.restart_duration}
    lengths |= {"verify": row.verify_duration, "rollback": None}
    begun = {"queue": row.created, "build": row.build_started, "restart": row.restart_started, "verify": None}
    now = _NOW.get(row.state, "")
    wrong = _gone_wrong(row)
    is_back = bool(row.failure) or row.state in ("rolling-back", "rolled-back")
    told = []
    for place, name in enumerate(STAGES):
        status = "waiting"
        if name == now:
            status = "now"
        elif name == wrong:
            status = "failed"
        elif name == "rollback":
            status = "done" if row.state == "rolled-back" else "skipped" if not is_back else "failed"
        elif now and place < STAGES.index(now):
            status = "done"
        elif row.state == "succeeded":
            status = "done" if lengths[name] is not None else "skipped"
        elif row.is_final:
            status = "done" if wrong and place < STAGES.index(wrong) else "skipped"
        since = iso(begun.get(name)) if status == "now" else ""
        length = "" if status in ("now", "waiting") else took(lengths[name])
        told.append({"name": name, "status": status, "took": length, "since": since})
    return told


def _gone_wrong(row: JobView) -> str:
    """The stage that failed, or in which the job was ended."""
    if not (row.is_final or row.failure) or row.state == "succeeded":
        return ""
    if row.restart_started is not None:
        return "verify" if row.restart_duration is not None else "restart"
    return "build" if row.build_started is not None else "queue"


def told(row: JobView) -> dict[str, Any]:
    """For the page that shows the job and is told of a change."""
    return {
        "state": row.state,
        "kind": row.kind,
        "sign": SIGNS[row.kind],
        "final": row.is_final,
        "reason": row.reason,
        "title": title(row),
        "facts": facts(row),
        "times": times(row),
        "stages": stages(row),
        "started": iso(row.started),
    }


def title(row: JobView) -> str:
    return f"{row.repo or 'job'} {row.state} · {row.short}"


def as_json(row: JobView) -> dict[str, Any]:
    """By the names of the hash; times are ISO 8601 in UTC, durations seconds, null for what is not known."""
    return {
        "id": row.id,
        "repo": row.repo,
        "ref": row.ref,
        "revision": row.revision,
        "previous": row.previous,
        "pusher": row.pusher,
        "state": row.state,
        "success": row.success if row.is_final else None,
        "reason": row.reason,
        "attempt": row.attempt,
        "exit_status": row.exit_status,
        "rollback_to": row.rollback_to,
        "image": row.image,
        "running_image": row.running_image,
        "unit": row.unit,
        "user": row.user,
        "created": iso(row.created) or None,
        "started": iso(row.started) or None,
        "finished": iso(row.finished) or None,
        "build_duration": row.build_duration,
        "restart_duration": row.restart_duration,
        "verify_duration": row.verify_duration,
    }


def whole(row: JobView, fields: Mapping[str, str]) -> dict[str, Any]:
    """The same with the ends of its output, as they are in Redis."""
    return as_json(row) | {
        "failure": row.failure,
        "output": sendable(fields.get("output", "")),
        "unit_output": sendable(fields.get("unit_output", "")),
    }
