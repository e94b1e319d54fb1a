"""The job that a rollback goes back to."""

from collections.abc import Sequence

from tinyci.model.retention import KeptJob
from tinyci.model.state import CONCLUSIVE, State

PREVIOUS = "previous"
"""Stands for the job to go back to in `rollback_to`, until the rollback begins: what runs may change before."""


def previous_job(jobs: Sequence[KeptJob], repo: str) -> KeptJob | None:
    """Return the newest job of a repo that deployed another image than what runs; None when no kept job did. `jobs` are
    in push order."""
    successes = [job for job in jobs if job.repo == repo and job.state == State.SUCCEEDED]
    others = [job for job in successes if job.image and job.image != successes[-1].image]
    return others[-1] if others else None


def undone_job(jobs: Sequence[KeptJob], repo: str) -> KeptJob | None:
    """Return the newest deploy of a repo if it has gone back to what ran before it; else None."""
    ends = [job for job in jobs if job.repo == repo and job.state in CONCLUSIVE]
    return ends[-1] if ends and ends[-1].state == State.ROLLED_BACK else None


def missing_reason(repo: str) -> str:
    """Return a sentence on why there is nothing to go back to."""
    return f"no kept job of {repo} deployed another image than what runs now"
