"""Where a repo stands, as its kept jobs tell: what runs now, what goes on, what came of the last one."""

from collections.abc import Sequence
from dataclasses import dataclass

from tinyci.model.repo import is_name
from tinyci.web.jobcache import IndexedJob
from tinyci.web.jobview import JobView

CONCLUSIVE = frozenset({"succeeded", "failed", "timed-out", "rolled-back", "rejected"})
"""States that say something of the repo: the others say what people did."""


@dataclass(frozen=True, slots=True)
class RepoStatus:
    """One repo."""

    name: str
    jobs: list[JobView]
    """Newest first."""
    runs: JobView | None
    """The job whose images run; None when no kept one tells."""
    doubt: str
    """Why it may be otherwise, or empty."""
    last: JobView | None
    """The newest that ended in one of TELLING."""

    @property
    def live(self) -> list[JobView]:
        return [row for row in self.jobs if row.is_live]


def repo_statuses(kept: Sequence[IndexedJob]) -> dict[str, RepoStatus]:
    """By the names of repos, in their order. `kept` is newest first; what is no name of a repo is left out."""
    by_name: dict[str, list[JobView]] = {}
    for each in kept:
        if is_name(each.row.repo):
            by_name.setdefault(each.row.repo, []).append(each.row)
    return {name: _standing(name, by_name[name]) for name in sorted(by_name)}


def _standing(name: str, jobs: list[JobView]) -> RepoStatus:
    runs, doubt = _running(jobs)
    return RepoStatus(name, jobs, runs, doubt, next((row for row in jobs if row.state in CONCLUSIVE), None))


def _running(jobs: Sequence[JobView]) -> tuple[JobView | None, str]:
    """A rollback leaves what ran before; a job that failed after its restart began leaves nobody knows what."""
    doubt = ""
    ended = sorted((row for row in jobs if row.is_final), key=lambda row: row.finished or 0.0, reverse=True)
    for row in ended:
        if row.state == "succeeded":
            return row, doubt
        if row.state == "failed" and row.restart_started is not None and not doubt:
            doubt = f"job {row.short} failed after its restart had begun, and was not rolled back"
    return None, doubt


def newest(kept: Sequence[IndexedJob], repo: str, ref: str) -> JobView | None:
    """What came last of a repo, or of one of its refs by its full or short name, of what is TELLING."""
    for each in kept:
        row = each.row
        if row.repo == repo and row.state in CONCLUSIVE and (not ref or ref in (row.ref, row.ref_name)):
            return row
    return None
