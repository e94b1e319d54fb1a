"""A hash is a job or an error for its pusher."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model.job import Job, JobError, is_id, is_revision
from tinyci.model.stagecontract import unit_name
from tinyci.model.state import State
from tinyci.model.timestamp import now

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}


def test_three_fields_make_a_job() -> None:
    job = Job.parse(ID, FIELDS)
    assert (job.id, job.repo, job.ref, job.revision) == (ID, "web", "refs/heads/main", "a" * 40)
    assert (job.state, job.attempt, job.created, job.build_started, job.restarting) == (State.QUEUED, 0, "", "", "")
    assert job.hex == "0d313b1ecca811ec8c5967453021b8a9"
    assert unit_name("build", job.hex) == "tinyci-build@0d313b1ecca811ec8c5967453021b8a9.service"


def test_jobs_of_one_ref_share_its_name() -> None:
    texts = [{name: "".join(list(text)) for name, text in FIELDS.items()} for _ in range(2)]
    assert texts[0]["ref"] is not texts[1]["ref"]
    one, other = (Job.parse(ID, each) for each in texts)
    assert one.ref is other.ref
    assert one.repo is other.repo


def test_a_job_that_was_on_its_way_is_read_where_it_stands() -> None:
    way = {"state": "restarting", "attempt": "2", "build_started": "2026-01-02T03:04:05.678901Z", "log_from": "7"}
    more = {"restarting": "web.service 0123", "created": "2026-01-02T03:04:05Z", "intent": "cancelled", "whatever": "x"}
    job = Job.parse(ID, {**FIELDS, **way, **more})
    assert (job.state, job.attempt, job.build_started) == (State.RESTARTING, 2, way["build_started"])
    assert (job.restarting, job.created, job.intent, job.log_from) == (
        "web.service 0123",
        "2026-01-02T03:04:05Z",
        "cancelled",
        7,
    )


@pytest.mark.parametrize("text", ["", "2026", "zzz", "0001-01-01", "2026-13-01T00:00:00Z", "9" * 400])
def test_a_time_that_is_none_is_not_believed(text: str) -> None:
    assert Job.parse(ID, {**FIELDS, "created": text}).created == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
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
        ({"log_from": "-1"}, "that tinyci does not know"),
        ({"log_from": "9" * 30}, "that tinyci does not know"),
        ({"attempt": "-5"}, "that tinyci does not know"),
        ({"intent": "succeeded"}, "that tinyci does not know"),
        ({"restarting": "a/b 0123"}, "that tinyci does not know"),
        ({"dependents": "web.service \udcff"}, "that tinyci does not know"),
        ({"attempt": "many"}, "that tinyci does not know"),
    ],
)
def test_a_wrong_field_is_told_in_a_sentence(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(JobError) as error:
        Job.parse(ID, {**FIELDS, **changes})
    assert sentence in str(error.value)


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


def test_now_is_iso_8601_utc_with_microseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", now())
    assert abs((datetime.fromisoformat(now()) - datetime.now(UTC)).total_seconds()) < 5
