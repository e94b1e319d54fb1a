"""The status of a repo, by its kept jobs: what runs, what goes on, how the last deploy ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from tinyci.model.repo import is_name
from tinyci.model.state import Kind, State
from tinyci.web.jobcache import IndexedJob
from tinyci.web.jobview import JobView


@dataclass(frozen=True, slots=True)
class RepoStatus:
    """The status of one repo."""

    name: str
    jobs: list[JobView]
    """Newest first."""
    running: JobView | None
    """The job whose images run; None when no kept one tells."""
    doubt: str
    """Why other images may run, or empty."""
    last: JobView | None
    """The newest conclusive job."""

    @property
    def live(self) -> list[JobView]:
        return [job for job in self.jobs if job.is_live]


def repo_statuses(index: Sequence[IndexedJob]) -> dict[str, RepoStatus]:
    """The status of each repo by its name, sorted. `index` is newest first; what is no name of a repo is left out."""
    by_name: dict[str, list[JobView]] = {}
    for entry in index:
        if is_name(entry.job.repo):
            by_name.setdefault(entry.job.repo, []).append(entry.job)
    return {name: _status(name, by_name[name]) for name in sorted(by_name)}


def _status(name: str, jobs: list[JobView]) -> RepoStatus:
    running, doubt = _running(jobs)
    return RepoStatus(name, jobs, running, doubt, next((job for job in jobs if job.is_conclusive), None))


def _running(jobs: Sequence[JobView]) -> tuple[JobView | None, str]:
    """The job whose images run, and a doubt: nobody knows what a failure after the restart began has left.

    A rollback leaves what ran before.
    """
    doubt = ""
    final_jobs = sorted((job for job in jobs if job.is_final), key=lambda job: job.finished or 0.0, reverse=True)
    for job in final_jobs:
        if job.is_good:
            return job, doubt
        is_half_way = job.kind == Kind.BAD and job.state != State.ROLLED_BACK and job.restart_started is not None
        if is_half_way and not doubt:
            doubt = f"job {job.short} failed after its restart had begun, and was not rolled back"
    return None, doubt


def newest(index: Sequence[IndexedJob], repo: str, ref: str) -> JobView | None:
    """The newest conclusive job of a repo; with a ref, full or short, of that ref."""
    for entry in index:
        job = entry.job
        if job.repo == repo and job.is_conclusive and (not ref or ref in (job.ref, job.ref_name)):
            return job
    return None
