"""Whatever stands in the hash of a job, it is a job that can be gone on with, or a sentence; and who is shown it sees
bounded text, true states, and numbers that are numbers."""

import json
import math
from typing import Any

from cases import FROM_BYTES, border, obeyed
from dbus_next import Message
from dbus_next.signature import Variant
from hypothesis import strategies as st
from tinyci.api import values
from tinyci.api.jobobject import JobObject
from tinyci.api.outputreader import OutputReader
from tinyci.api.polkit import Authority
from tinyci.daemon.build import Build
from tinyci.daemon.output import Limits
from tinyci.model import timestamp
from tinyci.model.fields import FIELDS, PROPERTIES, Type
from tinyci.model.job import Job, JobError, is_id
from tinyci.model.moment import Moment, Now, is_older
from tinyci.model.repo import is_name, is_unit_name
from tinyci.model.stagecontract import dump_job, load_job
from tinyci.model.state import FINAL, LIVE, State
from tinyci.notify.digest import Digest
from tinyci.notify.event import UNKNOWN_REPO, JobEvent
from tinyci.notify.message import MAX_BODY
from tinyci.notify.message import Message as Notice
from tinyci.notify.policy import NoticePolicy
from tinyci.store.writer import _event
from tinyci.web import badge
from tinyci.web.jobfacts import facts, times
from tinyci.web.jobjson import with_output
from tinyci.web.jobstages import STAGES, stages
from tinyci.web.jobview import JobView

JOB = "0b2e4f6c-cca8-41ec-8c59-67453021b8a9"
GOOD = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}
TIMES = [
    *("2026-01-01T00:00:00.000000Z", "2026-01-01T00:01:00.000000Z", "0001-01-01T00:00:00", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59.999999-23:59", "9999-12-31T23:59:59", "2026-01-01", "2026-W01-1", "1969-12-31T23:59:59Z"),
]
CONTENT = st.one_of(
    FROM_BYTES,
    st.sampled_from(TIMES),
    st.sampled_from(
        [f"{'a' * 32} 900.000001", f"{'a' * 32} 1100.5", f"{'b' * 32} 1.0", f"{'a' * 32} {'9' * 11}.1", "a 1"]
    ),
    st.sampled_from([str(state) for state in State]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["web.service " + "0" * 32, "web.service", "a.service b.socket", JOB, "b" * 64, "sha256:" + "c" * 64]
    ),
)
NAMES = st.sampled_from([field.name for field in FIELDS])
HASHES = st.dictionaries(NAMES | FROM_BYTES, CONTENT, max_size=14)
NEARLY = HASHES.map(lambda fields: GOOD | fields) | st.dictionaries(
    NAMES.filter(lambda name: name not in GOOD), CONTENT, max_size=6
).map(lambda fields: GOOD | fields)


@border(st.just(JOB) | FROM_BYTES, HASHES | NEARLY, few=150)
def test_a_hash_is_a_job_that_can_go_on_or_a_sentence(job_id: str, fields: dict[str, str]) -> None:
    try:
        job = Job.parse(job_id, fields)
    except JobError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
        assert not obeyed(str(error))
        return
    assert is_id(job.id) and is_name(job.repo)
    assert job.ref.startswith("refs/") and " " not in job.ref and len(job.ref) < 256
    # Numbers that Redis takes as ids of lines, and that attempts can be counted from.
    assert 0 <= job.attempt < 2**31 and 0 <= job.log_from < 2**53
    # Names that a manager is asked for.
    assert all(is_unit_name(name) for name in job.dependents)
    assert not job.restarting or is_unit_name(job.restarting.partition(" ")[0])
    assert job.intent in ("", State.CANCELLED, State.TIMED_OUT)
    assert not job.created or timestamp.seconds(job.created) is not None
    assert job.state == fields.get("state", State.QUEUED)
    # A stage reads what the daemon writes.
    assert load_job(dump_job(job).encode()) == Job(job.id, job.repo, job.ref, job.revision, rollback_to=job.rollback_to)
    check_time(job)
    outcome = Build(Record(job), REPO, None, None, Limits(1, 1), None).stop_outcome()  # type: ignore[arg-type]
    assert outcome is None or outcome.state in (State.CANCELLED, State.TIMED_OUT)


def check_time(job: Job) -> None:
    """Its age is one, and of two pushes at most one is the older."""
    now = Now(1_800_000_000.0, Moment("a" * 32, 1000.0))
    age = now.age(timestamp.seconds(job.created) or 0.0, job.moment)
    assert math.isfinite(age) and age >= 0
    other = Job(JOB, "web", "refs/heads/main", "a" * 40, "2026-06-01T00:00:00.000000Z", f"{'a' * 32} 500.000000")
    assert not (is_older(job, other, now) and is_older(other, job, now))


class Record:
    """The record of a job that nobody writes."""

    def __init__(self, job: Job) -> None:
        self.job = job


class Placeholder:
    user = "web"
    timeout = 60.0


REPO: Any = Placeholder()


@border(FROM_BYTES | st.sampled_from(TIMES) | st.datetimes().map(str), few=100)
def test_a_time_is_seconds_or_none(text: str) -> None:
    seconds = timestamp.seconds(text)
    assert seconds is None or math.isfinite(seconds)
    length = timestamp.duration(text, TIMES[0])
    assert length is None or (math.isfinite(length) and length >= 0)


@border(st.just(JOB) | FROM_BYTES, HASHES | NEARLY | st.none(), st.floats() | st.none(), few=100)
def test_the_pages_show_any_hash_as_bounded_text_and_true_figures(
    job_id: str, fields: dict[str, str] | None, index_time: float | None
) -> None:
    job = JobView(job_id, fields, index_time)
    state = (fields or {}).get("state", "")
    assert (job.is_final, job.is_live) == (state in FINAL, state in LIVE or (state == "" and bool(fields)))
    shown = [getattr(job, name) for name in JobView.__slots__] + [*facts(job).values(), *times(job).values(), job.title]
    for value in shown:
        if isinstance(value, str):
            assert len(value) <= 20_000 and not obeyed(value)
        elif value is not None:
            assert math.isfinite(value)
    assert [stage.name for stage in stages(job)] == list(STAGES)
    assert not obeyed(badge.svg(job.repo, job.state, job.kind), "\n")
    text = json.dumps(with_output(job, fields or {}), allow_nan=False)
    text.encode()
    assert json.loads(text)["state"] == job.state
    assert job.is_final or json.loads(text)["success"] is None


class Requests:
    repos: dict[str, Any] = {}  # noqa: RUF012
    paused = False


@border(HASHES | NEARLY, HASHES, few=100)
def test_the_bus_carries_any_hash_in_the_types_of_its_properties(
    fields: dict[str, str], change: dict[str, str]
) -> None:
    job = JobObject(JOB, fields, Requests(), Authority(), OutputReader(None))  # type: ignore[arg-type]
    job.change(change)
    body: dict[str, Variant] = {}
    for field in PROPERTIES:
        value = values.value_of(field.type, job.fields.get(field.name, ""))
        body[field.property_name] = Variant(field.signature, value)
        assert not isinstance(value, float) or (math.isfinite(value) and value >= 0)
        if field.type is Type.TEXT and isinstance(value, str):
            assert value.isascii() or "\\" in value or value == job.fields.get(field.name)
    assert job.fields == fields | change
    # The bus closes the connection of who sends a string that is none.
    message = Message(path="/", interface="a.b", member="C", signature="a{sv}", body=[body], serial=1)
    data = bytes(message._marshall())
    assert b"\0" not in str(body["Output"].value).encode() and len(data) < 2**22


@border(st.just(JOB) | FROM_BYTES, HASHES, HASHES | NEARLY, few=100)
def test_a_message_to_people_is_short_plain_and_says_the_state(
    job_id: str, entry: dict[str, str], fields: dict[str, str]
) -> None:
    event = JobEvent.parse({**entry, "job": job_id})
    assert (event is None) == (entry.get("state", "") not in FINAL)
    if event is None:
        return
    event = event.with_details(fields)
    assert event.repo == entry.get("repo") or event.repo == UNKNOWN_REPO
    assert JobEvent.load(json.loads(json.dumps(event._asdict()))) == event
    policy = NoticePolicy()
    notice = policy.judge(event, ("failure", "recovery", "deploy"))
    assert bool(notice) == (event.state != State.SUPERSEDED)
    digest = Digest.of(event, notice, 1.0)
    for each in (digest, digest.merge(digest)):
        assert Digest.load(json.loads(json.dumps(each.dump()))) == each
        message = Notice.of(each, "https://ci.example.org/")
        assert event.state in message.title + message.body
        assert len(json.dumps(message.body)) <= MAX_BODY and len(message.title) <= 200
        assert not obeyed(message.title) and not obeyed(message.body, "\n\t")
        assert message.click in ("", f"https://ci.example.org/jobs/{job_id}")


@border(st.just(JOB) | FROM_BYTES, HASHES, few=100)
def test_an_event_is_short_and_tells_what_was_written(job_id: str, fields: dict[str, str]) -> None:
    event = _event(job_id, fields)
    assert sum(map(len, event.values())) <= 6 * 512
    assert {"job", "at"} <= event.keys() <= {"job", "at", "state", "success", "reason", "attempt"}
    if len(fields.get("state", "")) <= 512:
        assert event.get("state") == fields.get("state")
