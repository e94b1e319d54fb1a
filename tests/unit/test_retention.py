"""Ended jobs are kept for a while, some of each repo; one that has not ended is never forgotten."""

from hypothesis import given
from hypothesis import strategies as st
from tinyci.model import retention
from tinyci.model.moment import Moment, Now
from tinyci.model.retention import KeptJob
from tinyci.model.state import FINAL

DAY = 86400.0
TIME = 1_000_000.0
BOOT, OTHER_BOOT = "a" * 32, "b" * 32
NOW = Now(TIME, Moment(BOOT, 5 * DAY))


def job(number: int, repo: str = "web", state: str = "succeeded", days: float = 0.0) -> KeptJob:
    return KeptJob(f"{number}", repo, "refs/heads/main", state, "", "", "", TIME - days * DAY)


def expired_ids(*jobs: KeptJob, most: int = 2) -> list[str]:
    return sorted(retention.expired_ids(jobs, most, 10 * DAY, NOW))


def test_what_is_new_is_kept() -> None:
    assert expired_ids(job(1, days=2), job(2, days=1)) == []


def test_the_oldest_beyond_the_count_go() -> None:
    assert expired_ids(job(1, days=3), job(2, days=2), job(3, days=1)) == ["1"]


def test_each_repo_has_its_own_count() -> None:
    assert expired_ids(job(1, "a", days=3), job(2, "a", days=2), job(3, "b", days=1), job(4, "a")) == ["1"]


def test_what_is_too_old_goes() -> None:
    assert expired_ids(job(1, days=10.1), job(2, days=9.9)) == ["1"]


def test_a_job_on_its_way_stays_however_old_and_takes_nobodys_place() -> None:
    assert expired_ids(job(1, state="building", days=99), job(2, days=2), job(3, days=1), most=2) == []


def test_an_entry_without_a_hash_goes_by_its_age() -> None:
    assert expired_ids(job(1, repo="", state="", days=11), job(2, repo="", state="", days=9), most=1) == ["1"]


def test_a_job_that_waits_is_not_forgotten_however_long_it_waits() -> None:
    """The hook writes no state, the daemon the first one; and a queue may be paused for longer than jobs are kept."""
    for state in ("", "queued"):
        waiting = [job(number, state=state, days=99) for number in range(3)]
        assert retention.expired_ids(waiting, 1, 10 * DAY, NOW, live_ids=["0", "2"]) == ["1"]


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
    all_jobs = sorted((job(number, *values) for number, values in enumerate(jobs)), key=lambda job: job.time)
    ids = set(retention.expired_ids(all_jobs, most, 10 * DAY, NOW))
    for repo in ("a", "b"):
        final_jobs = [job for job in all_jobs if job.repo == repo and job.state in FINAL]
        young_jobs = [job for job in final_jobs if TIME - job.time <= 10 * DAY]
        assert {job.id for job in final_jobs} - ids == {job.id for job in young_jobs[-most:]}
    assert not ids & {job.id for job in all_jobs if job.state in ("building", "rolling-back")}


def test_what_can_be_rolled_back_to_is_kept_however_many_failed_since() -> None:
    good = [job(number, days=90 + number)._replace(image=image) for number, image in ((1, "c"), (2, "b"), (3, "a"))]
    bad = [job(10 + number, state="failed", days=1) for number in range(5)]
    jobs = sorted([*good, *bad], key=lambda job: job.time)
    expired = retention.expired_ids(jobs, 2, 10 * DAY, NOW, keep_successes={"web": 2})
    assert sorted(expired) == ["10", "11", "12", "3"]
    assert "1" in retention.expired_ids(jobs, 2, 10 * DAY, NOW, keep_successes={"mail": 2}), "of that repo alone"


# -- a clock that was wrong, or is wrong now -----------------------------------------------------------------------


def test_jobs_of_a_wrong_future_push_no_right_ones_out() -> None:
    wrong = [job(number, days=-1000 - number) for number in range(5)]
    assert expired_ids(*wrong, job(10, days=2), job(11, days=1)) == ["0", "1", "2", "3", "4"]


def test_a_job_of_a_wrong_future_goes_when_the_host_has_been_up_for_as_long_as_jobs_are_kept() -> None:
    wrong = job(1, days=-1000)
    assert retention.expired_ids([wrong], 2, 10 * DAY, NOW) == []
    assert retention.expired_ids([wrong], 2, 4 * DAY, NOW) == ["1"]
    moment = str(Moment(BOOT, 2 * DAY))
    assert retention.expired_ids([wrong._replace(moment=moment)], 2, 4 * DAY, NOW) == []
    assert retention.expired_ids([wrong._replace(moment=moment)], 2, 2 * DAY, NOW) == ["1"]


def test_no_new_job_is_forgotten_because_the_clock_was_set_back() -> None:
    """The newest jobs of this boot seem to come from the future then, and those of boots before as well."""
    moments = [str(Moment(BOOT, day * DAY)) for day in (3, 4)]
    new = [job(number, days=-1)._replace(moment=moment) for number, moment in enumerate(moments)]
    assert expired_ids(*new, job(10, days=5.5), job(11, days=-2)) == ["10", "11"]


def test_a_host_that_is_in_the_past_until_it_has_asked_for_the_time_forgets_nothing_by_age() -> None:
    moment = str(Moment(OTHER_BOOT, 3 * DAY))
    old = [job(number, days=-1000 + number)._replace(moment=moment) for number in range(2)]
    assert expired_ids(*old, most=5) == []
    assert [each.id for each in retention.in_push_order([old[0], old[1], job(2)], NOW)] == ["1", "0", "2"]
