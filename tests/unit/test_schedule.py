"""Jobs of one repo deploy in push order and never two at once; only a newer push makes one needless."""

import random
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model import schedule
from tinyci.model.job import Job
from tinyci.model.queue import Queue

REPOS = ("alpha", "beta", "gamma", "delta")


def job(number: int, repo: str, ref: str = "refs/heads/main", **fields: str) -> Job:
    job_id = f"00000000-0000-0000-0000-{number:012}"
    return Job(id=job_id, repo=repo, ref=ref, revision=f"{number + 1:040x}").with_fields(fields)


def jobs(*repos: str) -> list[Job]:
    return [job(number, repo) for number, repo in enumerate(repos)]


OTHER = "00000000-0000-0000-0000-999999999999"
ORIGINS = st.sampled_from([{}, {}, {"retry_of": OTHER}, {"rollback_to": OTHER}])
QUEUES = st.lists(
    st.tuples(st.sampled_from(REPOS), st.sampled_from(("refs/heads/main", "refs/heads/next")), ORIGINS)
).map(lambda jobs: [job(number, repo, ref, **origin) for number, (repo, ref, origin) in enumerate(jobs)])


USERS = {"alpha": "ann", "beta": "ann", "gamma": "bob", "delta": "bob"}


def queue_of(jobs: list[Job]) -> Queue:
    queue = Queue()
    for each in jobs:
        queue.add(each)
    return queue


def runnable(queue: list[Job], busy: Collection[str], parallel: int) -> list[Job]:
    return schedule.runnable_jobs(
        queue_of(queue).heads(), {repo: USERS[repo] for repo in busy}, parallel, lambda repo: USERS.get(repo, "")
    )


@pytest.mark.parametrize(
    ("queued", "busy", "parallel", "begin"),
    [
        ("", "", 2, []),
        ("alpha", "", 1, [0]),
        ("alpha alpha", "", 2, [0]),
        ("alpha beta", "", 1, [0]),
        ("alpha beta", "", 2, [0, 1]),
        ("alpha alpha beta", "", 2, [0, 2]),
        ("alpha beta", "alpha", 2, [1]),
        ("alpha beta", "alpha", 1, []),
        ("alpha beta gamma", "delta", 3, [0, 1]),
        # One of each user besides.
        ("alpha beta gamma delta", "", 1, [0, 2]),
        ("alpha gamma", "beta", 1, [1]),
        ("gamma alpha", "beta", 1, [0]),
        ("alpha gamma", "beta delta", 1, []),
        ("nobodys", "alpha beta", 2, [0]),
    ],
)
def test_which_jobs_may_begin(queued: str, busy: str, parallel: int, begin: list[int]) -> None:
    queue = jobs(*queued.split())
    assert runnable(queue, busy.split(), parallel) == [queue[number] for number in begin]


@given(QUEUES, st.sets(st.sampled_from(REPOS)), st.integers(1, 5))
def test_a_repo_never_deploys_twice_at_once_and_no_place_stays_empty(
    queue: list[Job], busy: set[str], parallel: int
) -> None:
    begun = runnable(queue, busy, parallel)
    repos = [each.repo for each in begun]
    assert len(set(repos)) == len(repos)
    assert not busy & set(repos)
    for each in begun:
        assert each == next(other for other in queue if other.repo == each.repo)
    assert begun == [each for each in queue if each in begun]
    taken = busy | set(repos)
    candidates = {each.repo for each in queue} - busy
    assert len(taken) >= min(parallel, len(busy | candidates))
    users = {USERS[repo] for repo in taken}
    assert users == {USERS[repo] for repo in busy | candidates}, "nobody waits for others"
    # Of no user more than one beyond the places.
    assert len(taken) <= max(parallel, len(busy)) + len(users - {USERS[repo] for repo in busy})


@given(QUEUES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_job_gets_its_turn_in_push_order_of_its_repo(queue: list[Job], parallel: int, end: random.Random) -> None:
    waiting = list(queue)
    running: list[Job] = []
    started_jobs: list[Job] = []
    while waiting or running:
        for each in runnable(waiting, {other.repo for other in running}, parallel):
            waiting.remove(each)
            running.append(each)
            started_jobs.append(each)
        assert len(running) > 0
        users = {USERS[other.repo] for other in running}
        assert len(running) - len(users) < parallel
        running.remove(end.choice(running))
    for repo in REPOS:
        assert [each for each in started_jobs if each.repo == repo] == [each for each in queue if each.repo == repo]
    assert sorted(started_jobs, key=lambda each: each.id) == queue


@given(QUEUES)
def test_a_superseded_job_always_has_a_newer_one_of_its_ref(queue: list[Job]) -> None:
    pairs = queue_of(queue).superseded_jobs()
    old_jobs = [old for old, _ in pairs]
    for old, newer in pairs:
        assert (old.repo, old.ref) == (newer.repo, newer.ref)
        assert queue.index(old) < queue.index(newer)
        assert newer not in old_jobs
        assert old.deploys_tip and newer.deploys_tip
    refs = [(each.repo, each.ref) for each in queue if each.deploys_tip and each not in old_jobs]
    assert len(refs) == len(set(refs))
    assert set(refs) == {(each.repo, each.ref) for each in queue if each.deploys_tip}


def test_a_retry_or_a_rollback_is_no_newer_push() -> None:
    queue = [job(0, "alpha"), job(1, "alpha", retry_of=OTHER), job(2, "alpha", rollback_to=OTHER)]
    assert queue_of(queue).superseded_jobs() == []
    queue.append(job(3, "alpha"))
    assert queue_of(queue).superseded_jobs() == [(queue[0], queue[3])]


def test_another_ref_or_repo_supersedes_nothing() -> None:
    queue = [job(0, "alpha"), job(1, "alpha", "refs/heads/next"), job(2, "beta"), job(3, "alpha")]
    assert queue_of(queue).superseded_jobs() == [(queue[0], queue[3])]


@pytest.mark.parametrize(
    ("queued", "building", "begin"),
    [
        ("alpha beta", "", [0]),
        ("alpha gamma", "", [0, 1]),
        ("alpha beta gamma delta", "", [0, 2]),
        ("alpha gamma", "ann", [1]),
        ("alpha nobodys nobodys", "ann", [1, 2]),
    ],
)
def test_of_each_user_one_at_a_time_builds_images(queued: str, building: str, begin: list[int]) -> None:
    queue = jobs(*queued.split())
    apart = schedule.apart(queue, building.split(), lambda repo: USERS.get(repo, ""))
    assert apart == [queue[place] for place in begin]
