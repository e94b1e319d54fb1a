"""The schedule: the queued jobs that may begin now, and those that never will."""

from collections.abc import Callable, Collection, Mapping, Sequence

from tinyci.model.job import Job


def runnable_jobs(
    heads: Sequence[Job], busy_repos: Mapping[str, str], parallel: int, user_of: Callable[[str], str]
) -> list[Job]:
    """The queued jobs that may begin, in push order: one at a time per repo, `parallel` repos at once, and besides one
    of each user, so that nobody's builds hold up those of others.

    `heads`: the first queued job of each repo. `busy_repos`: the users of the repos that deploy now, by the names of
    these. `user_of()`: the user of a repo.
    """
    repos, users, jobs = set(busy_repos), set(busy_repos.values()), []
    for job in heads:
        if job.repo in repos:
            continue
        user = user_of(job.repo)
        if len(repos) < parallel or user not in users:
            repos.add(job.repo)
            users.add(user)
            jobs.append(job)
    return jobs


def apart(jobs: Sequence[Job], building_users: Collection[str], images_user_of: Callable[[str], str]) -> list[Job]:
    """The jobs out of `jobs` that may begin beside each other: of each user one at a time builds images, since a script
    may remove or rename what another one has just made.

    `building_users`: users for whom images are built now. `images_user_of()`: the user of a repo whose units run
    images; empty for another repo.
    """
    users, result = set(building_users), []
    for job in jobs:
        user = images_user_of(job.repo)
        if user in users:
            continue
        if user:
            users.add(user)
        result.append(job)
    return result
