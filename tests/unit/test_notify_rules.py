"""The choice of events for messages, their times, and the memory of both: by tables, and by Hypothesis with a clock."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model.state import BAD, FINAL
from tinyci.notify.digest import Digest
from tinyci.notify.event import UNKNOWN_REPO, JobEvent
from tinyci.notify.memory import Memory, MemoryFile, UnreadableMemoryError
from tinyci.notify.message import Message
from tinyci.notify.policy import NoticePolicy
from tinyci.notify.queue import GATHERING, MAX_AGE, MAX_REPOS, QUIET, RETRY_PAUSE, DigestQueue
from tinyci.store.entryid import order

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
DEFAULT = ("failure", "recovery")


def event(state: str = "failed", repo: str = "web", job: str = ID) -> JobEvent:
    return JobEvent(job, repo, "refs/heads/main", "a" * 40, "alice", state, "because", "2026-01-02T03:04:05.000006Z")


def digest(state: str = "failed", repo: str = "web", until: float = 0.0, notice: str = "failure") -> Digest:
    return Digest.of(event(state, repo), notice, until)


# -- which event -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize(
    ("notices", "states"),
    [
        (("failure",), {"failed", "timed-out", "rolled-back", "rejected"}),
        (DEFAULT, {"failed", "timed-out", "rolled-back", "rejected"}),
        (("recovery",), set()),
        (("deploy",), set(FINAL) - {"superseded"}),
        (("never",), set()),
        (("never", "failure", "deploy"), set()),
    ],
)
def test_an_event_of_a_repo_that_was_well_is_told_by_the_words(
    state: str, notices: tuple[str, ...], states: set[str]
) -> None:
    assert bool(NoticePolicy().judge(event(state), notices)) == (state in states)


@pytest.mark.parametrize("state", sorted(BAD))
def test_the_first_success_after_a_failure_is_a_recovery_and_the_second_is_not(state: str) -> None:
    policy = NoticePolicy()
    assert policy.judge(event(state), DEFAULT) == "failure"
    assert policy.judge(event("succeeded", repo="other"), DEFAULT) == ""
    for state_of_people in ("cancelled", "superseded"):
        assert policy.judge(event(state_of_people), DEFAULT) == ""
    assert policy.judge(event("succeeded"), DEFAULT) == "recovery"
    assert policy.judge(event("succeeded"), DEFAULT) == ""


def test_a_failure_that_nobody_was_told_of_is_remembered_too() -> None:
    policy = NoticePolicy()
    assert policy.judge(event(), ("recovery",)) == ""
    assert policy.judge(event("succeeded"), ("recovery",)) == "recovery"
    assert NoticePolicy(["web"]).judge(event("succeeded"), ("recovery", "deploy")) == "recovery"
    assert NoticePolicy(["web"]).judge(event("succeeded"), ("deploy",)) == "deploy"


def test_a_repo_that_is_gone_is_forgotten() -> None:
    policy = NoticePolicy(["web", "old"])
    policy.keep_only(["web", "other"])
    assert policy.failing_repos == {"web"}


@pytest.mark.parametrize("state", ["", "queued", "building", "no state", *sorted(FINAL)])
def test_only_ends_are_events_for_us(state: str) -> None:
    assert (JobEvent.parse({"job": ID, "repo": "web", "state": state}) is not None) == (state in FINAL)


@given(st.dictionaries(st.sampled_from(["job", "repo", "ref", "state", "reason", "at", "x"]), st.text()))
def test_no_event_is_too_strange(fields: dict[str, str]) -> None:
    parsed_event = JobEvent.parse({"state": "failed", **fields})
    if parsed_event:
        assert parsed_event.repo == fields.get("repo") or parsed_event.repo == UNKNOWN_REPO
        assert sum(map(len, parsed_event)) < 1500


# -- events that wait together -----------------------------------------------------------------------------------

STATES = st.sampled_from([*sorted(BAD), "succeeded", "cancelled"])


@given(st.lists(STATES, min_size=1, max_size=50))
def test_a_digest_counts_everything_and_holds_two_events(states: list[str]) -> None:
    policy, whole = NoticePolicy(), None
    for place, state in enumerate(states):
        one = event(state, job=f"{place}")
        notice = policy.judge(one, ("failure", "recovery", "deploy"))
        part = Digest.of(one, notice, float(place))
        whole = whole.merge(part) if whole else part
    assert whole
    assert whole.total == len(states)
    assert whole.last.job == f"{len(states) - 1}"
    failures = [place for place, state in enumerate(states) if state in BAD]
    assert (whole.failure.job if whole.failure else None) == (f"{failures[-1]}" if failures else None)
    assert whole.until == len(states) - 1
    if states[-1] in BAD:
        assert not whole.is_recovery
    if states[-1] == "succeeded":
        assert whole.is_recovery == bool(failures)
    assert Digest.load(json.loads(json.dumps(whole.dump()))) == whole


def test_a_cancelled_deploy_takes_no_recovery_back() -> None:
    policy, whole = NoticePolicy(), None
    for place, state in enumerate(["failed", "succeeded", "cancelled", "succeeded"]):
        one = event(state, job=f"{place}")
        part = Digest.of(one, policy.judge(one, ("failure", "recovery", "deploy")), float(place))
        whole = whole.merge(part) if whole else part
    assert whole and whole.is_recovery
    assert "recovered" in Message.of(whole, "").title


@pytest.mark.parametrize("values", [None, [], {}, {"repo": "web"}, "x", {**digest().dump(), "last": {"x": "y"}}])
def test_what_is_no_digest_is_refused(values: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Digest.load(values)


# -- when --------------------------------------------------------------------------------------------------------


class Taker:
    """Takes each digest of a queue at the time when it is due."""

    def __init__(self, queue: DigestQueue) -> None:
        self.queue = queue
        self.digests: list[tuple[float, Digest]] = []
        """With the time at which each was taken."""

    def take_until(self, end: float) -> None:
        while (due := self.queue.next_due()) is not None and due <= end:
            whole = self.queue.take(due)
            assert whole
            self.digests.append((due, whole))
            self.queue.mark_sent(due)


def new_queue(jitter: float = 1.0) -> DigestQueue:
    return DigestQueue(lambda: jitter)


def test_one_event_is_told_after_a_moment() -> None:
    queue = new_queue()
    assert queue.next_due() is None
    queue.add(digest(), 10.0)
    assert queue.next_due() == 10.0 + GATHERING[0]
    assert queue.take(11.9) is None
    whole = queue.take(12.0)
    assert whole
    assert whole.total == 1
    assert queue.next_due() is None, "one after the other"
    queue.mark_sent(12.5)
    assert (len(queue), queue.next_due()) == (0, None)


@pytest.mark.parametrize(
    ("events", "seconds", "most"), [(100, 0.0, 1), (100, 10.0, 4), (100, 100.0, 6), (1000, 600.0, 15)]
)
def test_a_burst_is_a_handful_of_messages_and_nothing_is_left_out(events: int, seconds: float, most: int) -> None:
    taker = Taker(new_queue())
    for place in range(events):
        now = place * seconds / events
        taker.take_until(now)
        taker.queue.add(digest(), now)
    taker.take_until(1e9)
    assert sum(each.total for _, each in taker.digests) == events
    assert len(taker.digests) <= most
    assert taker.digests[0][0] <= GATHERING[0], "the first is told at once"


def test_after_some_quiet_the_next_event_is_told_at_once_again() -> None:
    taker = Taker(new_queue())
    taker.queue.add(digest(), 0.0)
    taker.take_until(50.0)
    taker.queue.add(digest(), 2.0 + QUIET)  # as long after the first was told
    assert taker.queue.next_due() == 2.0 + QUIET + GATHERING[1]
    taker.take_until(1000.0)
    taker.queue.add(digest(), 1000.0)
    assert taker.queue.next_due() == 1000.0 + GATHERING[0]


def test_repos_do_not_wait_for_each_other() -> None:
    queue = new_queue()
    queue.add(digest(repo="web"), 0.0)
    queue.add(digest(repo="mail"), 1.0)
    for now, repo in ((2.0, "web"), (3.0, "mail")):
        whole = queue.take(now)
        assert whole and whole.repo == repo
        queue.mark_sent(now)


def test_what_is_refused_is_tried_again_more_and_more_rarely_with_all_that_came() -> None:
    queue = new_queue()
    queue.add(digest(), 0.0)
    now, pauses, tries = 2.0, [], 50
    for _ in range(tries):
        assert queue.take(now)
        queue.add(digest(), now)
        queue.mark_failed(now)
        due = queue.next_due()
        assert due
        pauses.append((now - 2.0, round(due - now, 6)))
        assert queue.take(due - 0.01) is None
        now = due
    assert [pause for _, pause in pauses[:5]] == [1.0] * 5
    assert all(pause <= max(1.0, outage / 4) + 1e-5 for outage, pause in pauses), (
        "who is back after a minute hears in 15 s"
    )
    assert pauses[-1][1] == RETRY_PAUSE[1]
    whole = queue.take(now)
    assert whole
    assert whole.total == tries + 1
    queue.mark_sent(now)
    queue.add(digest(), now + 1000)
    queue.take(now + 1002)
    queue.mark_failed(now + 1002)
    assert queue.next_due() == now + 1003, "a success begins anew"


@given(st.floats(0, 1))
def test_who_were_refused_together_do_not_come_back_together(jitter: float) -> None:
    queue = new_queue(jitter)
    queue.add(digest(), 0.0)
    queue.take(2.0)
    queue.mark_failed(2.0)
    due = queue.next_due()
    assert due
    assert 2.5 <= due <= 3.0


def test_what_is_too_old_is_dropped_and_told_as_dropped() -> None:
    queue = new_queue()
    queue.add(digest(repo="old"), 1000.0)
    queue.add(digest(repo="joined"), 1000.0)
    queue.add(digest(repo="joined"), 5000.0)
    assert queue.expire(1000.0 + MAX_AGE) == []
    assert [each.repo for each in queue.expire(1001.0 + MAX_AGE)] == ["old"]
    assert len(queue) == 1


def test_a_message_is_as_old_as_it_has_waited_whatever_is_done_to_the_clock() -> None:
    day = 86400.0
    queue = new_queue()
    queue.restore([digest(repo="old", until=0.1 * day), digest(repo="future", until=99 * day)], day, 1.05 * day)
    assert queue.expire(day) == []
    assert [each.repo for each in queue.expire(1.1 * day)] == ["old"]
    assert [each.repo for each in queue.expire(2.1 * day)] == ["future"]


def test_more_repos_than_can_be_real_make_the_oldest_give_way() -> None:
    queue = new_queue()
    overflow = []
    for place in range(MAX_REPOS + 3):
        overflow += queue.add(digest(repo=f"repo-{place}"), float(place))
    assert [each.repo for each in overflow] == ["repo-0", "repo-1", "repo-2"]
    assert len(queue) == MAX_REPOS


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(["web", "mail"])),
        st.tuples(st.sampled_from(["take", "sent", "failed", "restart"]), st.just("")),
        st.tuples(st.just("sleep"), st.sampled_from(["0.5", "3", "100", "1000"])),
    ),
    max_size=60,
)


@given(ACTIONS)
def test_whatever_happens_every_event_is_told_once(actions: list[tuple[str, str]]) -> None:
    """Also through a restart between any two actions; then only the digest that was being sent may be sent twice."""
    queue, now, sending, sent_count, event_count = new_queue(), 0.0, None, 0, 0
    for action, argument in actions:
        if action == "add":
            queue.add(digest(repo=argument), now)
            event_count += 1
        elif action == "take" and not sending:
            sending = queue.take(now)
        elif action == "sent" and sending:
            sent_count, sending = sent_count + sending.total, None
            queue.mark_sent(now)
        elif action == "failed" and sending:
            sending = None
            queue.mark_failed(now)
        elif action == "restart":
            memory = Memory.parse(Memory("1-0", (), {"key": queue.digests()}).dump())
            queue, sending = new_queue(), None
            queue.restore(memory.digests["key"], now, 0.0)
        elif action == "sleep":
            now += float(argument)
    if sending:
        sent_count += sending.total
        queue.mark_sent(now)
    taker = Taker(queue)
    taker.take_until(1e9)
    assert sent_count + sum(each.total for _, each in taker.digests) == event_count


# -- what is kept ------------------------------------------------------------------------------------------------


def test_what_is_kept_is_known_again(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.json")
    assert file.read() == Memory()
    memory = Memory("17-1", ["web"], {"key": [digest()]})
    assert file.save(memory)
    assert file.save(memory)
    assert file.read() == memory
    queue = new_queue()
    queue.restore(file.read().digests["key"], 0.0, 0.0)
    assert queue.take(0.0) == digest()
    assert [path.name for path in tmp_path.iterdir()] == ["memory.json"]


EVENT_OF_RELEASE_1 = """{
    "job": "0d313b1e-cca8-11ec-8c59-67453021b8a9", "repo": "web", "ref": "refs/heads/main",
    "revision": "1a2b3c4000000000000000000000000000000000", "pusher": "alice", "state": "STATE", "reason": "REASON",
    "at": "2026-01-02T03:04:05.000006Z", "took": "12.0", "output": "x"
}"""
FILE_OF_RELEASE_1 = f"""{{
    "format": 1, "position": "1767323050000-3", "troubled": ["mail"],
    "waiting": {{"0123456789abcdef": [{{
        "repo": "web", "counts": {{"failed": 1, "succeeded": 1}},
        "last": {EVENT_OF_RELEASE_1.replace("STATE", "succeeded").replace("REASON", "")},
        "failure": {EVENT_OF_RELEASE_1.replace("STATE", "failed").replace("REASON", "because")},
        "is_recovery": true, "since": "2026-01-02T03:04:05.000006Z", "until": 1767323050.0
    }}]}}
}}"""


def test_an_upgrade_reads_the_file_of_the_first_release_and_writes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(FILE_OF_RELEASE_1)
    memory = MemoryFile(path).read()
    assert (memory.position, memory.failing_repos) == ("1767323050000-3", ["mail"])
    ((whole,),) = memory.digests.values()
    assert (whole.total, whole.last.state, whole.last.took, whole.until) == (2, "succeeded", "12.0", 1767323050.0)
    assert whole.failure and whole.failure.reason == "because"
    assert Message.of(whole, "").title == "web: failed, then recovered \u2013 main at 1a2b3c4"
    assert json.loads(memory.dump()) == json.loads(FILE_OF_RELEASE_1)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 2}', '{"format": 1, "position": ""}', "\0"])
def test_a_file_that_is_not_ours_is_said_to_be_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "memory.json"
    path.write_text(text)
    with pytest.raises(UnreadableMemoryError, match=r"memory\.json cannot be read"):
        MemoryFile(path).read()


def test_positions_are_compared_as_numbers() -> None:
    assert sorted(["10-2", "9-0", "", "10-10"], key=order) == ["", "9-0", "10-2", "10-10"]
