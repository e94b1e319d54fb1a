"""Whatever others wrote into Redis, a final state stays, the hook's account adds jobs alone, and the daemon takes in
the good job beside it."""

import asyncio
import os
import signal
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cases import FROM_BYTES, border
from hypothesis import strategies as st
from servers import Redis
from tinyci.api.jobsource import JobSource
from tinyci.api.outputreader import OutputReader
from tinyci.daemon.closing import Closing
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.intake import Intake
from tinyci.daemon.jobtable import JobTable
from tinyci.daemon.listener import Listener
from tinyci.model.fields import FIELDS, HOOK_FIELDS
from tinyci.model.job import Job
from tinyci.model.state import FINAL, LIVE, State
from tinyci.store.keys import ACCEPTED, EVENTS, JOBS, QUEUE, of_job, of_log, of_new
from tinyci.store.writer import StoreError, StoreWriter

T = TypeVar("T")

JOB = "0b2e4f6c-cca8-41ec-8c59-67453021b8a9"
GOOD = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "previous": "0" * 40, "pusher": "anna"}
CONTENT = FROM_BYTES.map(lambda text: text[:3000]) | st.sampled_from([str(state) for state in State])
NAMES = st.sampled_from([field.name for field in FIELDS]) | FROM_BYTES.map(lambda text: text[:100])
HASHES = st.dictionaries(NAMES, CONTENT, max_size=10)
NEARLY = HASHES.map(lambda fields: GOOD | fields)
IDS = st.uuids().map(str) | FROM_BYTES.map(lambda text: text[:200])


@pytest.fixture(autouse=True)
def no_time_limit_for_a_soak(time_limit: None) -> None:
    if "TINYCI_SOAK" in os.environ:
        signal.setitimer(signal.ITIMER_REAL, 0)


def empty(redis: Redis) -> None:
    """FLUSHALL has Redis write its file at each time."""
    if keys := redis.data.keys():
        redis.data.delete(*keys)


class Daemon:
    """The daemon's access to Redis, in a loop of its own."""

    def __init__(self, redis: Redis) -> None:
        self.runner = asyncio.Runner()
        self.store = self.run(_store(redis))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(work, 20))


async def _store(redis: Redis) -> StoreWriter:
    return StoreWriter(redis.socket, "daemon", "secret-daemon")


@pytest.fixture
def daemon(redis: Redis) -> Iterator[Daemon]:
    daemon = Daemon(redis)
    yield daemon
    daemon.run(daemon.store.close())
    daemon.runner.close()


@border(HASHES | NEARLY, st.sampled_from([*FINAL]), HASHES, st.sampled_from([*State]), few=15)
def test_a_final_state_stays_whatever_the_hash_holds(
    redis: Redis, daemon: Daemon, old: dict[str, str], end: State, fields: dict[str, str], other: State
) -> None:
    empty(redis)
    before = old | {"state": str(end)}
    redis.data.hset(of_job(JOB), mapping=before)
    change = fields | {"state": str(other)}
    was_written = daemon.run(daemon.store.update(JOB, change))
    assert redis.data.hgetall(of_job(JOB)) == before
    assert was_written == all(before.get(name) == text for name, text in change.items())
    assert not redis.data.exists(EVENTS)


@border(HASHES | NEARLY, st.sampled_from([*LIVE, ""]), HASHES, st.sampled_from([*State]), few=15)
def test_a_change_of_a_live_job_is_written_once_with_its_event(
    redis: Redis, daemon: Daemon, old: dict[str, str], state: str, fields: dict[str, str], new: State
) -> None:
    empty(redis)
    before = old | ({"state": str(state)} if state else {"repo": "web"})
    if before.get("state") in FINAL:
        return
    redis.data.hset(of_job(JOB), mapping=before)
    change = fields | {"state": str(new)}
    for _ in range(2):  # the second time as after a lost acknowledgement
        assert daemon.run(daemon.store.update(JOB, change))
    assert redis.data.hgetall(of_job(JOB)) == before | change
    is_new = any(before.get(name) != text for name, text in change.items())
    entries = redis.data.xrange(EVENTS)
    assert [(entry["job"], entry["state"]) for _, entry in entries] == [(JOB, str(new))] * is_new
    assert sum(map(len, (text for _, entry in entries for text in entry.values()))) <= 12 * 512


@border(IDS, HASHES | NEARLY, HASHES | st.just({}), few=15)
def test_the_hook_adds_a_job_of_its_fields_and_changes_none(
    redis: Redis, daemon: Daemon, job_id: str, new: dict[str, str], old: dict[str, str]
) -> None:
    empty(redis)
    for key, fields in ((of_new(job_id), new), (of_job(job_id), old)):
        if fields:
            redis.data.hset(key, mapping=fields)
    admitted = daemon.run(daemon.store.admit([job_id], 1_800_000_000.0))[job_id]
    assert not isinstance(admitted, StoreError)
    assert redis.data.hgetall(of_job(job_id)) == admitted
    if old:
        assert admitted == old
        return
    assert admitted.keys() <= set(HOOK_FIELDS) and not redis.data.exists(of_new(job_id))
    assert all(new[name] == text for name, text in admitted.items() if name != "created")
    assert redis.data.zscore(JOBS, job_id) is None or redis.data.zscore(JOBS, job_id) <= 1_800_000_000


class Ends(Listener):
    """Remembers jobs by their last state."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def job_changed(self, job_id: str, repo: str, changes: Mapping[str, str]) -> None:
        self.states[job_id] = changes.get("state", self.states.get(job_id, ""))


QUEUED = st.lists(
    st.tuples(
        IDS,
        st.sampled_from([of_new, of_job]),
        st.none() | HASHES | NEARLY | CONTENT,
        st.sampled_from([QUEUE, ACCEPTED]),
    ),
    max_size=4,
    unique_by=lambda each: each[0],
)


@border(QUEUED, st.integers(0, 4), few=15)
def test_the_good_job_among_others_is_queued_and_each_other_has_its_place_or_an_end(
    redis: Redis, daemon: Daemon, tmp_path: Path, others: list[Any], place: int
) -> None:
    empty(redis)
    good_id = str(uuid.uuid4())
    for job_id, key, content, wait_list in [*others[:place], (good_id, of_new, GOOD, QUEUE), *others[place:]]:
        if isinstance(content, dict) and content:
            redis.data.hset(key(job_id), mapping=content)
        elif isinstance(content, str):
            redis.data.set(key(job_id), content)
        redis.data.lpush(wait_list, job_id)
    listener, table, resumed = Ends(), JobTable(), dict[str, Job]()
    host = HostAccess(job_files=tmp_path, spool=str(tmp_path / "none"))
    closing = Closing(daemon.store, table, listener, host)
    intake = Intake(daemon.store, table, closing, listener, host, lambda job, _: resumed.update({job.id: job}))

    async def take_all() -> None:
        while await daemon.store.queue_length():
            await intake._take()
        await intake.sweep()

    daemon.run(take_all())
    assert not table.ending and not table.accepting
    queued = [job.id for job in table.queue]
    assert queued.count(good_id) == 1
    assert redis.data.hgetall(of_job(good_id)).items() >= (GOOD | {"state": "queued"}).items()
    accepted = redis.data.lrange(ACCEPTED, 0, -1)
    assert good_id in accepted
    for job_id, _, content, _ in others:
        places = [job_id in queued, job_id in resumed, job_id in table.leftovers]
        if any(places):
            assert sum(places) == 1 and job_id in accepted
        else:  # rejected, or no job at all
            assert job_id not in accepted
            assert isinstance(content, str) or redis.data.hget(of_job(job_id), "state") in FINAL or len(job_id) > 64
    for job_id, job in resumed.items():
        assert job.state in LIVE and job.state != State.QUEUED and listener.states[job_id] != ""


ENTRIES = st.lists(st.dictionaries(st.just("line") | NAMES, CONTENT, min_size=1, max_size=3), min_size=1, max_size=4)
POSITIONS = st.sampled_from(["", "building 0", "succeeded 1", "queued 999999999999999", "x 1"]) | FROM_BYTES


@border(ENTRIES, st.sampled_from(["queued", "succeeded"]) | CONTENT, POSITIONS, few=15)
def test_what_is_read_of_a_log_is_its_lines_or_a_refusal(
    redis: Redis, daemon: Daemon, entries: list[dict[str, str]], state: str, position: str
) -> None:
    empty(redis)
    for number, entry in enumerate(entries, 1):
        redis.data.xadd(of_log(JOB), entry, f"{number}-0")  # type: ignore[arg-type]
    reader = OutputReader(JobSource(daemon.store))
    fields = {"state": state, "output": "the end\n"}
    try:
        output = daemon.run(_read(reader, fields, position))
    except ValueError as error:
        assert "expected the position" in str(error)
        return
    number = int(output.position.rpartition(" ")[2])
    after = int(position.rpartition(" ")[2]) if position else 0
    assert output.state == state and number >= after
    wanted = [entry.get("line", "") for entry in entries[after:]]
    assert output.lines == wanted and (not wanted or number == len(entries))


async def _read(reader: OutputReader, fields: dict[str, str], position: str) -> Any:
    return await reader.read(JOB, fields, position, wait=False)


@border(st.sampled_from([JOBS, EVENTS, QUEUE, ACCEPTED]) | NAMES.map(of_job) | NAMES.map(of_log), CONTENT, few=10)
def test_a_key_of_another_type_is_an_error_of_its_own_job(redis: Redis, daemon: Daemon, key: str, content: str) -> None:
    empty(redis)
    redis.data.set(of_job(JOB), content)
    redis.data.set(of_log(JOB), content)
    redis.data.set(of_new(JOB), content)
    for question in (
        daemon.store.job(JOB),
        daemon.store.update(JOB, {"state": "failed"}),
        daemon.store.lines(JOB, 0, 5),
        daemon.store.line_count(JOB),
        daemon.store.add_lines(JOB, 1, ["x"]),
    ):
        with pytest.raises(StoreError):
            daemon.run(question)
    assert isinstance(daemon.run(daemon.store.admit([JOB], 1.0))[JOB], StoreError)
    assert redis.data.get(of_job(JOB)) == content
    other = str(uuid.uuid4())
    redis.data.hset(of_new(other), mapping=GOOD)
    assert daemon.run(daemon.store.admit([other], 1.0)) == {other: GOOD}
    if key not in (JOBS, EVENTS, QUEUE, ACCEPTED):
        redis.data.set(key, content)
        assert daemon.run(daemon.store.job(other)) == GOOD
