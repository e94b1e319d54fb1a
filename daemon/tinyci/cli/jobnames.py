"""Which job is meant by what a person writes."""

from collections.abc import Sequence
from typing import NamedTuple

from tinyci.cli.exitstatus import UNKNOWN, CommandError
from tinyci.cli.terminal import safe

_SHOWN = 5


class ListedJob(NamedTuple):
    """A job as Manager.ListJobs() tells it."""

    id: str
    repo: str
    ref: str
    state: str
    path: str


def find(jobs: Sequence[ListedJob], repos: Sequence[str], name: str) -> ListedJob:
    """The job of that name; `jobs` oldest first. `@` is the newest one, the name of a repo its newest one, and else it
    is an id, with or without its dashes, or the beginning of one. Raises Failure with what might have been meant."""
    if name == "@":
        if not jobs:
            raise CommandError(UNKNOWN, f"there is no job yet: push to a repo{_of(repos)}")
        return jobs[-1]
    of_repo = [job for job in jobs if job.repo == name]
    if of_repo:
        return of_repo[-1]
    if name in repos:
        raise CommandError(UNKNOWN, f"the repo {name} has no job yet: push to it, or 'tinyci run {name}'")
    begin = name.lower().replace("-", "")
    found = [job for job in jobs if begin and job.id.replace("-", "").startswith(begin)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(UNKNOWN, f"{len(found)} jobs have ids that begin with {safe(name)}: {_some(found)}")
    newest = f"; the newest jobs: {_some(jobs)}" if jobs else ""
    raise CommandError(
        UNKNOWN,
        f"no job has an id that begins with '{safe(name)}', and no repo is called so: the repos are "
        f"{', '.join(map(safe, repos)) or 'none'}{newest}",
    )


def short(job_id: str, jobs: Sequence[ListedJob] = ()) -> str:
    """The beginning of an id by which it is known among the jobs; eight characters when that will do."""
    for end in (8, 13, 18, 23):
        if sum(job.id.startswith(job_id[:end]) for job in jobs) < 2:
            return job_id[:end]
    return job_id


def branch(ref: str) -> str:
    """A ref as people say it."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/")


def _of(repos: Sequence[str]) -> str:
    return f" ({', '.join(map(safe, repos))})" if repos else ""


def _some(jobs: Sequence[ListedJob]) -> str:
    """The newest of them, newest first."""
    told = [f"{short(job.id, jobs)} ({safe(job.repo)}, {safe(job.state)})" for job in jobs[: -_SHOWN - 1 : -1]]
    return ", ".join(told) + (", …" if len(jobs) > _SHOWN else "")
