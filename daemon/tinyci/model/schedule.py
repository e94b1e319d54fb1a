"""Which queued job may begin now, and which never will."""

from collections.abc import Collection, Sequence

from tinyci.model.job import Job


def superseded(queued: Sequence[Job]) -> list[tuple[Job, Job]]:
    """Jobs that a newer queued one of the same repo and ref makes needless, each with the newest one.

    `queued` is in push order and holds only jobs that have not begun.
    """
    newest = {(job.repo, job.ref): job for job in queued}
    return [(job, newest[job.repo, job.ref]) for job in queued if newest[job.repo, job.ref] is not job]


def runnable(queued: Sequence[Job], busy: Collection[str], parallel: int) -> list[Job]:
    """The queued jobs that may begin, in push order: one at a time per repo, `parallel` repos at once.

    `busy` are the names of the repos that deploy now.
    """
    taken, chosen = set(busy), []
    for job in queued:
        if len(taken) >= parallel:
            break
        if job.repo not in taken:
            taken.add(job.repo)
            chosen.append(job)
    return chosen
