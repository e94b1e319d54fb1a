"""Facts of one job, as its page shows them: names, labels, texts."""

from tinyci.web.jobview import JobView
from tinyci.web.text import iso, took, utc

LABELS = {
    "repo": "Repo",
    "ref": "Ref",
    "revision": "Revision",
    "previous": "Before it",
    "pusher": "By",
    "rollback_to": "Deploys again",
    "created": "Created",
    "started": "Started",
    "finished": "Finished",
    "took": "Took",
    "attempt": "Attempt",
    "exit_status": "Exit status",
    "image": "Runs image",
    "unit": "Build unit",
    "user": "User",
}
"""In the order of the page."""


def facts(job: JobView) -> dict[str, str]:
    """Texts by the names in LABELS, empty where there is nothing to show."""
    return {
        "repo": job.repo,
        "ref": job.ref,
        "revision": job.revision,
        "previous": job.previous if job.previous.strip("0") else "",
        "pusher": job.pusher,
        "rollback_to": job.rollback_to,
        "created": utc(job.created),
        "started": utc(job.started),
        "finished": utc(job.finished),
        "took": took(job.took),
        "attempt": str(job.attempt) if job.attempt > 1 else "",
        "exit_status": str(job.exit_status) if job.exit_status is not None else "",
        "image": job.running_image or job.image,
        "unit": job.unit,
        "user": job.user,
    }


def times(job: JobView) -> dict[str, str]:
    """The facts that are times, in ISO 8601."""
    return {"created": iso(job.created), "started": iso(job.started), "finished": iso(job.finished)}
