"""A hash is a job or an error for its pusher; states follow each other as design and table say."""

import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model.job import Job, JobError, is_id, is_revision
from tinyci.model.stagecontract import unit_name
from tinyci.model.state import FINAL, TABLE, State, check_transition
from tinyci.model.timestamp import now

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}


def test_three_fields_make_a_job() -> None:
    job = Job.parse(ID, FIELDS)
    assert (job.id, job.repo, job.ref, job.revision) == (ID, "web", "refs/heads/main", "a" * 40)
    assert (job.state, job.attempt, job.created, job.build_started, job.restarting) == (State.QUEUED, 0, "", "", "")
    assert job.hex == "0d313b1ecca811ec8c5967453021b8a9"
    assert unit_name("build", job.hex) == "tinyci-build@0d313b1ecca811ec8c5967453021b8a9.service"


def test_a_job_that_was_on_its_way_is_read_where_it_stands() -> None:
    way = {"state": "restarting", "attempt": "2", "build_started": "2026-01-02T03:04:05.678901Z", "log_from": "7"}
    more = {"restarting": "web.service 0123", "created": "2026", "intent": "cancelled", "whatever": "x"}
    job = Job.parse(ID, {**FIELDS, **way, **more})
    assert (job.state, job.attempt, job.build_started) == (State.RESTARTING, 2, way["build_started"])
    assert (job.restarting, job.created, job.intent, job.log_from) == ("web.service 0123", "2026", "cancelled", 7)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"repo": ""}, "repo '' is not the name of a repo"),
        ({"repo": "../etc/passwd"}, "is not the name of a repo"),
        ({"ref": "main"}, "ref 'main' is not the full name of a ref, such as refs/heads/main"),
        ({"ref": "refs/heads/a b"}, "is not the full name of a ref"),
        ({"ref": "refs/heads/a..b"}, "is not the full name of a ref"),
        ({"ref": "refs/heads/a^"}, "is not the full name of a ref"),
        ({"ref": "refs/heads/a\n"}, "is not the full name of a ref"),
        ({"ref": "refs/heads/a.lock"}, "is not the full name of a ref"),
        ({"ref": "refs/heads/"}, "is not the full name of a ref"),
        ({"ref": "refs/heads/" + "x" * 300}, "is not the full name of a ref"),
        ({"revision": "HEAD"}, "revision 'HEAD' is not a full object name: 40 or 64 hexadecimal digits"),
        ({"revision": "a" * 39}, "is not a full object name"),
        ({"revision": "a" * 41}, "is not a full object name"),
        ({"revision": "A" * 40}, "is not a full object name"),
        ({"revision": "0" * 40}, "is not a full object name"),
        ({"revision": "--upload-pack=x"}, "is not a full object name"),
        ({"state": "exploded"}, "that tinyci does not know"),
        ({"log_from": "x"}, "that tinyci does not know"),
        ({"attempt": "many"}, "that tinyci does not know"),
    ],
)
def test_a_wrong_field_is_told_in_a_sentence(changed: dict[str, str], said: str) -> None:
    with pytest.raises(JobError) as caught:
        Job.parse(ID, {**FIELDS, **changed})
    assert said in str(caught.value)


def test_an_id_without_a_hash_is_told_in_a_sentence() -> None:
    with pytest.raises(JobError, match="queued without a hash"):
        Job.parse(ID, {})


@pytest.mark.parametrize("text", ["", "x", ID.upper(), ID.replace("-", ""), ID + "\n", f"{{{ID}}}", ID[:-1] + "g"])
def test_an_id_is_a_uuid_in_lower_case_with_dashes(text: str) -> None:
    assert not is_id(text)
    with pytest.raises(JobError, match="is not a job id"):
        Job.parse(text, FIELDS)


def test_revisions_are_sha1_or_sha256_and_not_the_null_one() -> None:
    assert is_revision("1" * 40)
    assert is_revision("f" * 64)
    assert not is_revision("0" * 64)
    assert not is_revision("1" * 50)


TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("/.~^\0\n-"))
NEAR = {
    "repo": st.sampled_from(["web", "a.b", "..", ""]) | TEXT,
    "ref": TEXT.map("refs/".__add__) | st.just("refs/heads/main") | TEXT,
    "revision": st.text("0123456789abcdefA", min_size=39, max_size=41) | st.just("a" * 64) | TEXT,
    "state": st.sampled_from(list(State)) | TEXT,
    "attempt": st.integers().map(str) | st.just("9" * 5000) | TEXT,
    "log_from": st.integers().map(str) | TEXT,
}
HASHES = st.fixed_dictionaries({}, optional=NEAR) | st.dictionaries(TEXT, TEXT)
IDS = st.uuids().map(str) | TEXT


@given(IDS, HASHES)
def test_any_hash_is_a_job_or_a_job_error(job_id: str, fields: dict[str, str]) -> None:
    try:
        job = Job.parse(job_id, fields)
    except JobError as error:
        assert len(str(error)) < 500
    else:
        assert re.fullmatch(r"tinyci-build@[0-9a-f]{32}\.service", unit_name("build", job.hex))
        assert re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", job.revision)
        assert re.fullmatch(r"[A-Za-z0-9][\w.-]*", job.repo, re.ASCII)
        assert job.ref.startswith("refs/")
        assert not re.search(r"[\0-\x20\x7f]", job.ref)


@given(st.uuids().map(str), st.sampled_from(list(State)), st.integers(0, 3))
def test_a_good_hash_is_always_a_job(job_id: str, state: State, attempt: int) -> None:
    job = Job.parse(job_id, {**FIELDS, "state": state, "attempt": str(attempt)})
    assert (job.id, job.state, job.attempt) == (job_id, state, attempt)
    assert is_id(job.id)


# -- states ------------------------------------------------------------------------------------------------------


def test_finals_are_the_seven_of_the_design() -> None:
    assert set(FINAL) == {"succeeded", "failed", "cancelled", "timed-out", "superseded", "rejected", "rolled-back"}


def test_a_final_state_has_no_next() -> None:
    for final in FINAL:
        assert not TABLE[final].next
        for after in State:
            with pytest.raises(ValueError, match=f"cannot go from {final} to {after}"):
                check_transition(final, after)


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
def test_every_other_state_reaches_a_final_one(state: State) -> None:
    reached, to_see = set(), [state]
    while to_see:
        each = to_see.pop()
        if each not in reached:
            reached.add(each)
            to_see.extend(TABLE[each].next)
    assert reached & FINAL


@pytest.mark.parametrize(
    "steps",
    [
        "queued building restarting verifying succeeded",
        "queued superseded",
        "queued cancelled",
        "queued rejected",
        "building failed",
        "building cancelled",
        "building timed-out",
        "building building",  # a reboot cut it off
        "building succeeded",  # a repo without units
        "restarting rolling-back rolled-back",
        "verifying rolling-back failed",
    ],
)
def test_the_steps_of_the_design_are_steps(steps: str) -> None:
    states = [State(word) for word in steps.split()]
    for before, after in pairwise(states):
        check_transition(before, after)


@pytest.mark.parametrize("before", [State.RESTARTING, State.VERIFYING, State.ROLLING_BACK])
@pytest.mark.parametrize("after", [State.QUEUED, State.BUILDING, State.SUPERSEDED, State.CANCELLED, State.REJECTED])
def test_a_deploy_that_touched_a_unit_is_never_taken_back_in_silence(before: State, after: State) -> None:
    with pytest.raises(ValueError, match="cannot go from"):
        check_transition(before, after)


@pytest.mark.parametrize("before", [state for state in State if state not in (State.BUILDING, State.VERIFYING)])
def test_success_comes_after_a_build_or_a_verification_only(before: State) -> None:
    with pytest.raises(ValueError, match="cannot go from"):
        check_transition(before, State.SUCCEEDED)


def test_now_is_iso_8601_utc_with_microseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", now())
    assert abs((datetime.fromisoformat(now()) - datetime.now(UTC)).total_seconds()) < 5
