"""What people are told of, and when: by tables, and by Hypothesis with a clock of its own."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model.state import BAD, FINAL
from tinyci.notify.digest import Digest
from tinyci.notify.event import UNKNOWN_REPO, JobEvent
from tinyci.notify.groupreader import order
from tinyci.notify.memory import Memory, MemoryFile, UnreadableMemoryError
from tinyci.notify.message import Message
from tinyci.notify.policy import NoticePolicy
from tinyci.notify.queue import GATHERING, MAX_AGE, MAX_REPOS, QUIET, RETRY_PAUSE, DigestQueue

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
DEFAULT = ("failure", "recovery")


def event(state: str = "failed", repo: str = "web", job: str = ID) -> JobEvent:
    return JobEvent(job, repo, "refs/heads/main", "a" * 40, "alice", state, "because", "2026-01-02T03:04:05.000006Z")


def digest(state: str = "failed", repo: str = "web", until: float = 0.0, word: str = "failure") -> Digest:
    return Digest.of(event(state, repo), word, until)


# -- which event -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize(
    ("words", "told"),
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
    state: str, words: tuple[str, ...], told: set[str]
) -> None:
    assert bool(NoticePolicy().judge(event(state), words)) == (state in told)


@pytest.mark.parametrize("state", sorted(BAD))
def test_the_first_success_after_a_failure_is_a_recovery_and_the_second_is_not(state: str) -> None:
    judgement = NoticePolicy()
    assert judgement.judge(event(state), DEFAULT) == "failure"
    assert judgement.judge(event("succeeded", repo="other"), DEFAULT) == ""
    for says_nothing in ("cancelled", "superseded"):
        assert judgement.judge(event(says_nothing), DEFAULT) == ""
    assert judgement.judge(event("succeeded"), DEFAULT) == "recovery"
    assert judgement.judge(event("succeeded"), DEFAULT) == ""


def test_a_failure_that_nobody_was_told_of_is_remembered_too() -> None:
    judgement = NoticePolicy()
    assert judgement.judge(event(), ("recovery",)) == ""
    assert judgement.judge(event("succeeded"), ("recovery",)) == "recovery"
    assert NoticePolicy(["web"]).judge(event("succeeded"), ("recovery", "deploy")) == "recovery"
    assert NoticePolicy(["web"]).judge(event("succeeded"), ("deploy",)) == "deploy"


def test_a_repo_that_is_gone_is_forgotten() -> None:
    judgement = NoticePolicy(["web", "old"])
    judgement.keep_only(["web", "other"])
    assert judgement.failing_repos == {"web"}


@pytest.mark.parametrize("state", ["", "queued", "building", "no state", *sorted(FINAL)])
def test_only_ends_are_events_for_us(state: str) -> None:
    assert (JobEvent.parse({"job": ID, "repo": "web", "state": state}) is not None) == (state in FINAL)


@given(st.dictionaries(st.sampled_from(["job", "repo", "ref", "state", "reason", "at", "x"]), st.text()))
def test_no_event_is_too_strange(fields: dict[str, str]) -> None:
    found = JobEvent.parse({"state": "failed", **fields})
    if found:
        assert found.repo == fields.get("repo") or found.repo == UNKNOWN_REPO
        assert sum(map(len, found)) < 1500


# -- events that wait together -----------------------------------------------------------------------------------

STATES = st.sampled_from([*sorted(BAD), "succeeded", "cancelled"])


@given(st.lists(STATES, min_size=1, max_size=50))
def test_a_digest_counts_everything_and_holds_two_events(states: list[str]) -> None:
    judgement, whole = NoticePolicy(), None
    for place, state in enumerate(states):
        one = event(state, job=f"{place}")
        word = judgement.judge(one, ("failure", "recovery", "deploy"))
        part = Digest.of(one, word, float(place))
        whole = whole.merge(part) if whole else part
    assert whole
    assert whole.total == len(states)
    assert whole.last.job == f"{len(states) - 1}"
    failed = [place for place, state in enumerate(states) if state in BAD]
    assert (whole.failure.job if whole.failure else None) == (f"{failed[-1]}" if failed else None)
    assert whole.until == len(states) - 1
    if states[-1] in BAD:
        assert not whole.is_recovery
    if states[-1] == "succeeded":
        assert whole.is_recovery == bool(failed)
    assert Digest.load(json.loads(json.dumps(whole.dump()))) == whole


def test_a_cancelled_deploy_takes_no_recovery_back() -> None:
    judgement, whole = NoticePolicy(), None
    for place, state in enumerate(["failed", "succeeded", "cancelled", "succeeded"]):
        one = event(state, job=f"{place}")
        part = Digest.of(one, judgement.judge(one, ("failure", "recovery", "deploy")), float(place))
        whole = whole.merge(part) if whole else part
    assert whole and whole.is_recovery
    assert "recovered" in Message.of(whole, "").title


@pytest.mark.parametrize("kept", [None, [], {}, {"repo": "web"}, "x", {**digest().dump(), "last": {"x": "y"}}])
def test_what_is_no_digest_is_refused(kept: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Digest.load(kept)


# -- when --------------------------------------------------------------------------------------------------------


class Person:
    """Who takes what a queue has, and when it has it."""

    def __init__(self, queue: DigestQueue) -> None:
        self.queue = queue
        self.told: list[tuple[float, Digest]] = []

    def take_until(self, end: float) -> None:
        while (due := self.queue.next_due()) is not None and due <= end:
            taken = self.queue.take(due)
            assert taken
            self.told.append((due, taken))
            self.queue.mark_sent(due)


def new_queue(chance: float = 1.0) -> DigestQueue:
    return DigestQueue(lambda: chance)


def test_one_event_is_told_after_a_moment() -> None:
    queue = new_queue()
    assert queue.next_due() is None
    queue.add(digest(), 10.0)
    assert queue.next_due() == 10.0 + GATHERING[0]
    assert queue.take(11.9) is None
    taken = queue.take(12.0)
    assert taken
    assert taken.total == 1
    assert queue.next_due() is None, "one after the other"
    queue.mark_sent(12.5)
    assert (len(queue), queue.next_due()) == (0, None)


@pytest.mark.parametrize(
    ("events", "seconds", "most"), [(100, 0.0, 1), (100, 10.0, 4), (100, 100.0, 6), (1000, 600.0, 15)]
)
def test_a_burst_is_a_handful_of_messages_and_nothing_is_left_out(events: int, seconds: float, most: int) -> None:
    person = Person(new_queue())
    for place in range(events):
        now = place * seconds / events
        person.take_until(now)
        person.queue.add(digest(), now)
    person.take_until(1e9)
    assert sum(each.total for _, each in person.told) == events
    assert len(person.told) <= most
    assert person.told[0][0] <= GATHERING[0], "the first is told at once"


def test_after_some_quiet_the_next_event_is_told_at_once_again() -> None:
    person = Person(new_queue())
    person.queue.add(digest(), 0.0)
    person.take_until(50.0)
    person.queue.add(digest(), 2.0 + QUIET)  # as long after the first was told
    assert person.queue.next_due() == 2.0 + QUIET + GATHERING[1]
    person.take_until(1000.0)
    person.queue.add(digest(), 1000.0)
    assert person.queue.next_due() == 1000.0 + GATHERING[0]


def test_repos_do_not_wait_for_each_other() -> None:
    queue = new_queue()
    queue.add(digest(repo="web"), 0.0)
    queue.add(digest(repo="mail"), 1.0)
    assert [taken.repo for now in (2.0, 3.0) if (taken := queue.take(now)) and queue.mark_sent(now) is None] == [
        "web",
        "mail",
    ]


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
    taken = queue.take(now)
    assert taken
    assert taken.total == tries + 1
    queue.mark_sent(now)
    queue.add(digest(), now + 1000)
    queue.take(now + 1002)
    queue.mark_failed(now + 1002)
    assert queue.next_due() == now + 1003, "a success begins anew"


@given(st.floats(0, 1))
def test_who_were_refused_together_do_not_come_back_together(chance: float) -> None:
    queue = new_queue(chance)
    queue.add(digest(), 0.0)
    queue.take(2.0)
    queue.mark_failed(2.0)
    due = queue.next_due()
    assert due
    assert 2.5 <= due <= 3.0


def test_what_is_too_old_is_dropped_and_told_as_dropped() -> None:
    queue = new_queue()
    queue.add(digest(repo="old", until=1000.0), 0.0)
    queue.add(digest(repo="joined", until=1000.0), 0.0)
    queue.add(digest(repo="joined", until=5000.0), 0.0)
    assert queue.expire(1000.0 + MAX_AGE) == []
    assert [each.repo for each in queue.expire(1001.0 + MAX_AGE)] == ["old"]
    assert len(queue) == 1


def test_more_repos_than_can_be_real_make_the_oldest_give_way() -> None:
    queue = new_queue()
    dropped = []
    for place in range(MAX_REPOS + 3):
        dropped += queue.add(digest(repo=f"repo-{place}", until=float(place)), 0.0)
    assert [each.repo for each in dropped] == ["repo-0", "repo-1", "repo-2"]
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
    """Also through restarts between any two of these; only what was being sent then may be told again."""
    queue, now, taken, told, added = new_queue(), 0.0, None, 0, 0
    for action, what in actions:
        if action == "add":
            queue.add(digest(repo=what), now)
            added += 1
        elif action == "take" and not taken:
            taken = queue.take(now)
        elif action == "sent" and taken:
            told, taken = told + taken.total, None
            queue.mark_sent(now)
        elif action == "failed" and taken:
            taken = None
            queue.mark_failed(now)
        elif action == "restart":
            memory = Memory.parse(Memory("1-0", (), {"key": queue.digests()}).dump())
            queue, taken = new_queue(), None
            queue.restore(memory.digests["key"])
        elif action == "sleep":
            now += float(what)
    if taken:
        told += taken.total
        queue.mark_sent(now)
    person = Person(queue)
    person.take_until(1e9)
    assert told + sum(each.total for _, each in person.told) == added


# -- what is kept ------------------------------------------------------------------------------------------------


def test_what_is_kept_is_known_again(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "memory.json")
    assert file.read() == Memory()
    memory = Memory("17-1", ["web"], {"key": [digest()]})
    assert file.save(memory)
    assert file.save(memory)
    assert file.read() == memory
    queue = new_queue()
    queue.restore(file.read().digests["key"])
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
