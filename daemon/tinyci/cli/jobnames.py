"""Names of jobs, as people write them: ids, beginnings of ids, repos, `@`."""

from collections.abc import Sequence
from typing import NamedTuple

from tinyci.cli.exitstatus import UNKNOWN, CommandError
from tinyci.cli.terminal import safe

_SOME = 5


class ListedJob(NamedTuple):
    """A job in the list of Manager.ListJobs()."""

    id: str
    repo: str
    ref: str
    state: str
    path: str


def find(jobs: Sequence[ListedJob], repos: Sequence[str], name: str) -> ListedJob:
    """Return the job of that name; `jobs` oldest first. `@` is the newest one, the name of a repo its newest one, and
    else it is an id, with or without its dashes, or the beginning of one. Raises CommandError with candidates."""
    if name == "@":
        if not jobs:
            raise CommandError(UNKNOWN, f"there is no job yet: push to a repo{_of(repos)}")
        return jobs[-1]
    repo_jobs = [job for job in jobs if job.repo == name]
    if repo_jobs:
        return repo_jobs[-1]
    if name in repos:
        raise CommandError(UNKNOWN, f"the repo {name} has no job yet: push to it, or 'tinyci run {name}'")
    begin = name.lower().replace("-", "")
    matches = [job for job in jobs if begin and job.id.replace("-", "").startswith(begin)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise CommandError(UNKNOWN, f"{len(matches)} jobs have ids that begin with {safe(name)}: {_some(matches)}")
    newest = f"; the newest jobs: {_some(jobs)}" if jobs else ""
    raise CommandError(
        UNKNOWN,
        f"no job has an id that begins with '{safe(name)}', and no repo is called so: the repos are "
        f"{', '.join(map(safe, repos)) or 'none'}{newest}",
    )


def short(job_id: str, jobs: Sequence[ListedJob] = ()) -> str:
    """Shorten an id so that no other job's begins so; to eight characters where that will do."""
    for end in (8, 13, 18, 23):
        if sum(job.id.startswith(job_id[:end]) for job in jobs) < 2:
            return job_id[:end]
    return job_id


def _of(repos: Sequence[str]) -> str:
    return f" ({', '.join(map(safe, repos))})" if repos else ""


def _some(jobs: Sequence[ListedJob]) -> str:
    """The newest of the jobs, newest first."""
    items = [f"{short(job.id, jobs)} ({safe(job.repo)}, {safe(job.state)})" for job in jobs[: -_SOME - 1 : -1]]
    return ", ".join(items) + (", …" if len(jobs) > _SOME else "")
