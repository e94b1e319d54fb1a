"""The queue is what a list of its jobs would be, however they come and go, and as quick when it is long."""

import time

from hypothesis import given
from hypothesis import strategies as st
from tinyci.model.job import Job
from tinyci.model.moment import Moment, Now, is_older
from tinyci.model.queue import Queue

BOOT = "b" * 32
NOW = Now(2_000_000_000.0, Moment(BOOT, 1000.0))
OTHER = "00000000-0000-0000-0000-999999999999"
REPOS = ("alpha", "beta")
REFS = ("refs/heads/main", "refs/heads/next")
ORIGINS = ({}, {}, {"retry_of": OTHER})


def job(number: int, repo: str, ref: str, second: int = 0, **fields: str) -> Job:
    job_id = f"00000000-0000-0000-0000-{number:012}"
    made = Job(id=job_id, repo=repo, ref=ref, revision=f"{number + 1:040x}")
    return made.with_fields({"moment": str(Moment(BOOT, float(second))), **fields})


JOBS = st.tuples(
    st.sampled_from(REPOS), st.sampled_from(REFS), st.integers(0, 20), st.sampled_from(ORIGINS), st.booleans()
)
STEPS = st.lists(st.one_of(JOBS, st.floats(0, 1, exclude_max=True)), max_size=40)
"""A job that comes, from the spool or not; or the place of one that goes, as a part of the whole."""


def place_of_spooled(line: list[Job], new: Job) -> int:
    older = [place for place, other in enumerate(line) if not is_older(new, other, NOW)]
    return older[-1] + 1 if older else 0


def superseded(jobs: list[Job]) -> set[tuple[str, str]]:
    pushes = [each for each in jobs if each.deploys_tip]
    newest = {(each.repo, each.ref): each for each in pushes}
    return {(each.id, new.id) for each in pushes if (new := newest[each.repo, each.ref]) is not each}


@given(STEPS)
def test_it_is_what_a_list_would_be(steps: list[tuple[str, str, int, dict[str, str], bool] | float]) -> None:
    queue = Queue()
    lines: dict[str, list[Job]] = {repo: [] for repo in REPOS}
    for number, step in enumerate(steps):
        every = [each for line in lines.values() for each in line]
        if isinstance(step, tuple):
            repo, ref, second, origin, is_spooled = step
            new = job(number, repo, ref, second, **origin)
            if is_spooled:
                lines[repo].insert(place_of_spooled(lines[repo], new), new)
                queue.add_spooled(new, NOW)
            else:
                lines[repo].append(new)
                queue.add(new)
        elif every:
            gone = every[int(step * len(every))]
            lines[gone.repo].remove(gone)
            queue.remove(gone)
            assert queue.get(gone.id) is None
        every = [each for line in lines.values() for each in line]
        assert len(queue) == len(every)
        assert all(queue.get(each.id) is each for each in every)
        assert sorted(queue, key=lambda each: each.repo) == every, "each repo's in its order"
        heads = {each.repo: each for each in queue.heads()}
        assert heads == {repo: line[0] for repo, line in lines.items() if line}
        assert {(old.id, new.id) for old, new in queue.superseded_jobs()} == superseded(every)


@given(st.lists(st.sampled_from(REPOS), max_size=20))
def test_jobs_come_in_push_order(repos: list[str]) -> None:
    queue = Queue()
    jobs = [job(number, repo, f"refs/heads/{number}") for number, repo in enumerate(repos)]
    for each in jobs:
        queue.add(each)
    assert list(queue) == jobs
    assert queue.heads() == [next(each for each in jobs if each.repo == repo) for repo in dict.fromkeys(repos)]


def cost(count: int) -> float:
    """Return the seconds of the processor that so many jobs take to come, to be looked for and to go."""
    jobs = [job(number, f"repo{number % 8}", f"refs/tags/{number}") for number in range(count)]
    queue, begin = Queue(), time.thread_time()
    for each in jobs:
        queue.add(each)
        queue.heads()
        queue.superseded_jobs()
    for each in jobs:
        queue.heads()
        queue.remove(each)
    return time.thread_time() - begin


def test_a_long_queue_costs_each_job_as_much_as_a_short_one() -> None:
    assert min(cost(16_000) for _ in range(3)) < 3 * 8 * min(cost(2_000) for _ in range(3))
