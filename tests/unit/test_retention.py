"""Ended jobs are kept for a while, some of each repo; one that has not ended is never forgotten."""

from hypothesis import given
from hypothesis import strategies as st
from tinyci.model import retention
from tinyci.model.retention import KeptJob
from tinyci.model.state import FINAL

NOW = 1_000_000.0
DAY = 86400.0


def kept(number: int, repo: str = "web", state: str = "succeeded", days: float = 0.0) -> KeptJob:
    return KeptJob(f"{number}", repo, "refs/heads/main", state, "", "", NOW - days * DAY)


def expired(*jobs: KeptJob, most: int = 2) -> list[str]:
    return sorted(retention.expired(sorted(jobs, key=lambda job: job.time), most, 10 * DAY, NOW))


def test_what_is_new_is_kept() -> None:
    assert expired(kept(1, days=2), kept(2, days=1)) == []


def test_the_oldest_beyond_the_count_go() -> None:
    assert expired(kept(1, days=3), kept(2, days=2), kept(3, days=1)) == ["1"]


def test_each_repo_has_its_own_count() -> None:
    assert expired(kept(1, "a", days=3), kept(2, "a", days=2), kept(3, "b", days=1), kept(4, "a")) == ["1"]


def test_what_is_too_old_goes() -> None:
    assert expired(kept(1, days=10.1), kept(2, days=9.9)) == ["1"]


def test_a_job_on_its_way_stays_however_old_and_takes_nobodys_place() -> None:
    assert expired(kept(1, state="building", days=99), kept(2, days=2), kept(3, days=1), most=2) == []


def test_an_entry_without_a_hash_goes_by_its_age() -> None:
    assert expired(kept(1, repo="", state="", days=11), kept(2, repo="", state="", days=9), most=1) == ["1"]


def test_a_job_that_waits_is_not_forgotten_however_long_it_waits() -> None:
    """The hook writes no state, the daemon the first one; and a queue may be paused for longer than jobs are kept."""
    for state in ("", "queued"):
        waiting = [kept(number, state=state, days=99) for number in range(3)]
        assert retention.expired(waiting, 1, 10 * DAY, NOW, live=["0", "2"]) == ["1"]


JOBS = st.lists(
    st.tuples(
        st.sampled_from(("a", "b")),
        st.sampled_from((*sorted(FINAL), "queued", "building", "rolling-back")),
        st.floats(0, 20),
    )
)


@given(JOBS, st.integers(1, 5))
def test_no_live_job_is_ever_forgotten_and_the_newest_ended_ones_are_kept(
    jobs: list[tuple[str, str, float]], most: int
) -> None:
    every = sorted((kept(number, *job) for number, job in enumerate(jobs)), key=lambda job: job.time)
    gone = set(retention.expired(every, most, 10 * DAY, NOW))
    for repo in ("a", "b"):
        ended = [job for job in every if job.repo == repo and job.state in FINAL]
        young = [job for job in ended if NOW - job.time <= 10 * DAY]
        assert {job.id for job in ended} - gone == {job.id for job in young[-most:]}
    assert not gone & {job.id for job in every if job.state in ("building", "rolling-back")}
