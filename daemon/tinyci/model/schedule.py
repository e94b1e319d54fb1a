"""The schedule: the queued jobs that may begin now, and those that never will."""

from collections.abc import Collection, Sequence

from tinyci.model.job import Job


def superseded_jobs(queue: Sequence[Job]) -> list[tuple[Job, Job]]:
    """Jobs that a newer queued one of the same repo and ref makes needless, each with the newest one.

    `queue` is in push order and holds only jobs that have not begun. Retries and rollbacks neither are superseded nor
    supersede: they are of another revision than the newest.
    """
    pushes = [job for job in queue if job.deploys_tip]
    newest = {(job.repo, job.ref): job for job in pushes}
    return [(job, newest[job.repo, job.ref]) for job in pushes if newest[job.repo, job.ref] is not job]


def runnable_jobs(queue: Sequence[Job], busy_repos: Collection[str], parallel: int) -> list[Job]:
    """The queued jobs that may begin, in push order: one at a time per repo, `parallel` repos at once.

    `busy_repos` are the names of those that deploy now.
    """
    taken_repos, jobs = set(busy_repos), []
    for job in queue:
        if len(taken_repos) >= parallel:
            break
        if job.repo not in taken_repos:
            taken_repos.add(job.repo)
            jobs.append(job)
    return jobs
