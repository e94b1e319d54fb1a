"""Jobs in a real Redis, as the daemon's own user of it."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis as library
from servers import Redis
from tinyci.model.retention import KeptJob
from tinyci.model.state import FINAL, State
from tinyci.store import writer as store_module
from tinyci.store.listener import StoreListener
from tinyci.store.writer import StoreError, StoreWriter

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "created": "2026-01-02T03:04:05.000006Z"}


def new_id() -> str:
    return str(uuid.uuid4())


def push(redis: Redis, job_id: str) -> None:
    """As the hook does."""
    redis.data.hset(f"tinyci:job:{job_id}", mapping=FIELDS)
    redis.data.lpush("tinyci:queue", job_id)


@pytest_asyncio.fixture
async def other(redis: Redis) -> AsyncIterator[StoreWriter]:
    """A second store of the same Redis."""
    store = StoreWriter(redis.socket, "daemon", "secret-daemon")
    yield store
    await store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """take() gives up soon."""
    monkeypatch.setattr(store_module, "_BLOCK", 0.05)


# -- the queue ---------------------------------------------------------------------------------------------------


async def test_jobs_are_taken_in_push_order(redis: Redis, store: StoreWriter) -> None:
    ids = [new_id() for _ in range(5)]
    for job_id in ids:
        push(redis, job_id)
    assert await store.queue_length() == 5
    assert [await store.take() for _ in ids] == ids
    assert await store.accepted_ids() == ids
    assert await store.queue_length() == 0
    assert await store.job(ids[0]) == FIELDS


async def test_a_job_that_was_taken_is_in_exactly_one_of_the_two_lists(redis: Redis, store: StoreWriter) -> None:
    job_id = new_id()
    redis.data.lpush("tinyci:queue", job_id)
    assert await store.take() == job_id
    assert redis.data.lrange("tinyci:queue", 0, -1) == []
    assert redis.data.lrange("tinyci:accepted", 0, -1) == [job_id]


async def test_a_job_that_comes_while_we_wait_is_taken_at_once(redis: Redis, store: StoreWriter) -> None:
    waiting = asyncio.create_task(store.take())
    await redis.wait_for_blocked_client()
    began = time.monotonic()
    redis.data.lpush("tinyci:queue", "x")
    assert await waiting == "x"
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("operation", ["take", "accepted_ids"])
async def test_a_cancellation_at_whatever_moment_is_heard(store: StoreWriter, operation: str) -> None:
    """Python 3.11's wait_for(), in the library, swallows one that comes just when a command was sent."""
    for turns in range(20):
        task = asyncio.create_task(getattr(store, operation)())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        finished_tasks, _ = await asyncio.wait((task,), timeout=2)
        assert finished_tasks
        assert task.cancelled() or operation == "accepted_ids"


async def test_nothing_to_take_is_said_after_some_seconds(store: StoreWriter, impatient: None) -> None:
    assert await store.take() is None


async def test_a_job_that_is_done_with_is_released(redis: Redis, store: StoreWriter) -> None:
    redis.data.lpush("tinyci:accepted", "a", "b", "a")
    await store.release("a")
    assert await store.accepted_ids() == ["b"]
    await store.release("a")
    assert await store.accepted_ids() == ["b"]


async def test_many_jobs_are_released_without_a_search_for_each(redis: Redis, store: StoreWriter) -> None:
    ids = [f"{number}" for number in range(5000)]
    redis.data.lpush("tinyci:accepted", *ids, "7")
    before = redis.data.info("commandstats")
    await store.release(*ids[::3], "7", "no such id")
    after = redis.data.info("commandstats")
    assert await store.accepted_ids() == [each for each in ids if each not in {*ids[::3], "7"}]
    searches = [stats.get("cmdstat_lrem", {"calls": 0})["calls"] for stats in (before, after)]
    assert searches[1] - searches[0] == 1


async def test_a_take_that_is_cancelled_loses_no_job(redis: Redis, store: StoreWriter) -> None:
    ids = {new_id() for _ in range(20)}
    for job_id in ids:
        taking = asyncio.create_task(store.take())
        await asyncio.sleep(0)
        redis.data.lpush("tinyci:queue", job_id)
        taking.cancel()
        await asyncio.wait([taking])
    listed_ids = redis.data.lrange("tinyci:queue", 0, -1) + redis.data.lrange("tinyci:accepted", 0, -1)
    assert sorted(listed_ids) == sorted(ids)


# -- jobs of the hook's account ------------------------------------------------------------------------------------


def push_new(redis: Redis, fields: dict[str, str]) -> str:
    """Add a job as the hook does, with its account."""
    job_id = new_id()
    client = library.Redis(unix_socket_path=redis.socket, username="hook", password="secret-hook")
    with client.pipeline(transaction=True) as pipe:
        pipe.hset(f"tinyci:new:{job_id}", mapping=fields)
        pipe.lpush("tinyci:queue", job_id)
        pipe.execute()
    client.close()
    return job_id


async def test_a_job_of_the_hook_becomes_one_that_its_account_cannot_change(redis: Redis, store: StoreWriter) -> None:
    fields = {**FIELDS, "previous": "0" * 40, "pusher": "lea", "created": "2026-01-02T03:04:05.000006Z"}
    job_id = push_new(redis, fields)
    assert await store.admit([job_id], time.time()) == {job_id: fields}
    assert redis.data.hgetall(f"tinyci:job:{job_id}") == fields
    assert redis.data.zrange("tinyci:jobs", 0, -1, withscores=True) == [(job_id, 1767323045.000006)]
    assert not redis.data.exists(f"tinyci:new:{job_id}")


async def test_of_a_new_job_only_the_hooks_fields_are_believed(redis: Redis, store: StoreWriter) -> None:
    lies = {"state": "succeeded", "success": "true", "rollback_to": new_id(), "user": "root", "attempt": "9"}
    job_id = push_new(redis, {**FIELDS, **lies, "created": "9000-01-01T00:00:00Z"})
    fields = {name: text for name, text in FIELDS.items() if name != "created"}
    assert await store.admit([job_id], time.time()) == {job_id: fields}
    assert redis.data.hgetall(f"tinyci:job:{job_id}") == fields
    assert abs(redis.data.zscore("tinyci:jobs", job_id) - time.time()) < 10


@pytest.mark.parametrize("state", ["building", "succeeded"])
async def test_a_new_job_with_the_id_of_another_changes_nothing(redis: Redis, store: StoreWriter, state: str) -> None:
    job_id = push_new(redis, {**FIELDS, "revision": "b" * 40})
    job = {**FIELDS, "state": state}
    redis.data.hset(f"tinyci:job:{job_id}", mapping=job)
    assert await store.admit([job_id], time.time()) == {job_id: job}
    assert redis.data.hgetall(f"tinyci:job:{job_id}") == job


async def test_a_hash_that_is_too_long_is_not_read(redis: Redis, store: StoreWriter) -> None:
    job_id = push_new(redis, {**FIELDS, "pusher": "x" * 1_000_000})
    other_id = push_new(redis, FIELDS)
    results = await store.admit([job_id, other_id], time.time())
    assert str(results[job_id]).startswith("its hash took") and results[other_id] == FIELDS
    assert not redis.data.keys("tinyci:new:*")
    assert await store.admit([job_id], time.time()) == {job_id: {}}


async def test_a_job_of_the_hook_in_the_spool_as_well_is_added_once(redis: Redis, store: StoreWriter) -> None:
    job_id = push_new(redis, FIELDS)
    assert not await store.add(job_id, FIELDS, 2.0)
    assert await store.queue_length() == 1
    redis.data.delete("tinyci:queue")
    assert await store.add(job_id, FIELDS, 2.0)
    assert redis.data.lrange("tinyci:accepted", 0, -1) == [job_id]
    assert not redis.data.exists(f"tinyci:new:{job_id}")


# -- jobs that the daemon itself accepts ---------------------------------------------------------------------------


async def test_a_job_that_is_added_is_a_hash_an_index_entry_and_accepted(redis: Redis, store: StoreWriter) -> None:
    job_id = new_id()
    push(redis, "before")
    await store.take()
    assert await store.add(job_id, FIELDS, created=1767323045.000006)
    assert redis.data.hgetall(f"tinyci:job:{job_id}") == FIELDS
    assert redis.data.zrange("tinyci:jobs", 0, -1, withscores=True) == [(job_id, 1767323045.000006)]
    assert await store.accepted_ids() == ["before", job_id]
    assert await store.queue_length() == 0


async def test_a_job_that_redis_knows_is_not_added_again(redis: Redis, store: StoreWriter) -> None:
    """The hook keeps a job in the spool also when only the acknowledgement of Redis was lost."""
    job_id = new_id()
    push(redis, job_id)
    await store.take()
    assert not await store.add(job_id, {**FIELDS, "repo": "other"}, 2.0)
    assert redis.data.hget(f"tinyci:job:{job_id}", "repo") == "web"
    assert await store.accepted_ids() == [job_id]


async def test_a_hash_that_nothing_leads_to_is_a_job_that_was_not_added(redis: Redis, store: StoreWriter) -> None:
    """A push leaves such a hash when the queue is no list; the hook keeps the job in the spool then."""
    job_id = new_id()
    redis.data.hset(f"tinyci:job:{job_id}", mapping=FIELDS)
    assert await store.add(job_id, FIELDS, 2.0)
    assert not await store.add(job_id, FIELDS, 2.0)
    assert await store.accepted_ids() == [job_id]
    await store.update(job_id, {"state": "succeeded"})
    await store.release(job_id)
    assert not await store.add(job_id, FIELDS, 2.0), "it has ended"
    assert await store.accepted_ids() == []


async def test_a_pause_is_kept_until_it_ends(store: StoreWriter, other: StoreWriter) -> None:
    assert not await store.is_paused()
    await store.set_paused(paused=True)
    assert await other.is_paused()
    await other.set_paused(paused=False)
    assert not await store.is_paused()


# -- jobs that are kept ------------------------------------------------------------------------------------------


async def test_kept_jobs_are_told_oldest_first(redis: Redis, store: StoreWriter) -> None:
    ids = [f"{number}" for number in range(1200)]
    with redis.data.pipeline() as pipe:
        for job_id in ids:
            pipe.hset(f"tinyci:job:{job_id}", mapping=FIELDS)
            pipe.zadd("tinyci:jobs", {job_id: float(job_id)})
        pipe.execute()
    await store.update("7", {"state": "failed"})
    redis.data.delete("tinyci:job:8")
    redis.data.set("tinyci:job:9", "a string")
    jobs = await store.kept_jobs()
    assert [each.id for each in jobs] == ids
    assert jobs[6] == KeptJob("6", "web", "refs/heads/main", "", FIELDS["created"], "", "", 6.0)
    assert jobs[7].state == "failed"
    assert [each.repo for each in jobs[8:11]] == ["", "", "web"]


async def test_of_a_forgotten_job_nothing_is_left(redis: Redis, store: StoreWriter) -> None:
    for job_id in ("old", "new"):
        await store.add(job_id, FIELDS, 1.0)
        await store.add_lines(job_id, 1, ["a line"])
        await store.release(job_id)
    await store.forget(["old"])
    assert sorted(redis.data.keys("*")) == ["tinyci:job:new", "tinyci:jobs", "tinyci:log:new"]
    assert await store.recent_ids(10) == ["new"]
    await store.forget([])


# -- hashes and events -------------------------------------------------------------------------------------------


async def test_a_change_of_state_is_one_event(redis: Redis, store: StoreWriter) -> None:
    job_id = new_id()
    push(redis, job_id)
    assert await store.update(job_id, {"state": "building", "attempt": "1", "unit": "x"})
    ((_, event),) = redis.data.xrange("tinyci:events")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event.pop("at"))
    about = {name: FIELDS[name] for name in ("repo", "ref", "revision")}
    assert event == {"job": job_id, **about, "state": "building", "attempt": "1"}
    assert await store.job(job_id) == {**FIELDS, "state": "building", "attempt": "1", "unit": "x"}


async def test_an_event_says_of_which_revision_whose_push_and_as_whom(redis: Redis, store: StoreWriter) -> None:
    redis.data.hset("tinyci:job:x", mapping={**FIELDS, "revision": "tip", "pusher": "alice"})
    await store.update("x", {"state": "building", "user": "web"})
    await store.update("x", {"state": "failed", "revision": "b" * 40, "reason": "because"})
    events = [event for _, event in redis.data.xrange("tinyci:events")]
    assert [(each["revision"], each["pusher"], each["user"]) for each in events] == [
        ("tip", "alice", "web"),
        ("b" * 40, "alice", "web"),
    ]
    assert events[1]["reason"] == "because"


async def test_an_event_is_small_however_large_the_hash_is(redis: Redis, store: StoreWriter) -> None:
    redis.data.hset(
        "tinyci:job:x", mapping=dict.fromkeys(("repo", "ref", "revision", "pusher", "user"), "é" * 1_000_000)
    )
    await store.update("x", {"state": "rejected", "reason": "y" * 1_000_000})
    ((_, event),) = redis.data.xrange("tinyci:events")
    assert sum(len(text.encode()) for text in event.values()) < 10_000
    assert (event["repo"][:3], event["repo"][-1]) == ("ééé", "…")


async def test_a_change_is_one_round_trip(redis: Redis, store: StoreWriter) -> None:
    await store.update("x", {"state": "queued"})
    before = redis.data.info("commandstats")
    await store.update("x", {"state": "building", "attempt": "1"})
    after = redis.data.info("commandstats")
    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    by_script = ("cmdstat_hget", "cmdstat_hset", "cmdstat_type", "cmdstat_zadd", "cmdstat_xadd", "cmdstat_info")
    assert {name: count for name, count in calls.items() if count and name not in by_script} == {"cmdstat_evalsha": 1}


async def test_a_redis_that_has_forgotten_its_scripts_learns_them_anew(redis: Redis, store: StoreWriter) -> None:
    await store.update("x", {"state": "queued"})
    redis.data.script_flush()
    assert await store.update("x", {"state": "building"})
    assert [event["state"] for _, event in redis.data.xrange("tinyci:events")] == ["queued", "building"]


async def test_that_a_job_is_queued_is_told_once(redis: Redis, store: StoreWriter, other: StoreWriter) -> None:
    """However often it is accepted: after a restart, by a sweep, or because an acknowledgement was lost."""
    push(redis, "x")
    for each in (store, other, store):
        assert await each.update("x", {"state": "queued", "created": FIELDS["created"]})
    assert [event["state"] for _, event in redis.data.xrange("tinyci:events")] == ["queued"]


async def test_a_field_that_is_no_state_is_no_event(redis: Redis, store: StoreWriter) -> None:
    assert await store.update("x", {"restarting": "web.service 0"})
    assert redis.data.hgetall("tinyci:job:x") == {"restarting": "web.service 0"}
    assert redis.data.xlen("tinyci:events") == 0


@pytest.mark.parametrize("final", sorted(FINAL))
@pytest.mark.parametrize("fields", [{"state": "building"}, {"success": "true"}, {"output": "late"}])
async def test_a_final_state_is_written_once(
    redis: Redis, store: StoreWriter, final: State, fields: dict[str, str]
) -> None:
    end = {"state": final, "success": "false", "reason": "because"}
    assert await store.update("x", end)
    assert not await store.update("x", fields)
    assert await store.job("x") == end
    assert redis.data.xlen("tinyci:events") == 1


async def test_of_two_ends_at_the_same_time_one_wins_whole(
    redis: Redis, store: StoreWriter, other: StoreWriter
) -> None:
    for number in range(20):
        writes = await asyncio.gather(
            store.update(f"{number}", {"state": "succeeded", "success": "true"}),
            other.update(f"{number}", {"state": "failed", "success": "false"}),
        )
        assert sorted(writes) == [False, True]
        state = "succeeded" if writes[0] else "failed"
        assert await store.job(f"{number}") == {"state": state, "success": "true" if writes[0] else "false"}
    assert redis.data.xlen("tinyci:events") == 20


async def test_fields_that_others_write_meanwhile_are_kept(store: StoreWriter, other: StoreWriter) -> None:
    async def write(through: StoreWriter, letter: str) -> None:
        for number in range(20):
            assert await through.update("x", {f"{letter}{number}": letter})

    await asyncio.gather(write(store, "a"), write(other, "b"))
    assert len(await store.job("x")) == 40


async def test_a_job_of_a_shell_script_is_indexed_when_it_begins(redis: Redis, store: StoreWriter) -> None:
    redis.data.hset("tinyci:job:x", mapping=FIELDS)
    await store.update("x", {"state": "building"})
    score = redis.data.zscore("tinyci:jobs", "x")
    assert abs(score - time.time()) < 60
    await store.update("x", {"state": "failed"})
    assert redis.data.zscore("tinyci:jobs", "x") == score


async def test_recent_jobs_are_the_newest_first(store: StoreWriter) -> None:
    for number in (3, 1, 2):
        await store.add(f"{number}", FIELDS, float(number))
    assert await store.recent_ids(2) == ["3", "2"]
    assert await store.recent_ids(100) == ["3", "2", "1"]


async def test_a_job_that_is_not_there_is_an_empty_hash(store: StoreWriter) -> None:
    assert await store.job("x") == {}


async def test_bytes_that_are_not_utf8_come_back_as_they_were(redis: Redis, store: StoreWriter) -> None:
    redis.data.execute_command("HSET", "tinyci:job:x", "ref", b"refs/heads/caf\xe9", "repo", "we\0b")
    assert await store.job("x") == {"ref": "refs/heads/caf\udce9", "repo": "we\0b"}
    redis.data.lpush("tinyci:queue", b"\xff")
    assert await store.take() == "\udcff"


async def test_an_id_that_is_not_utf8_can_be_released(redis: Redis, store: StoreWriter) -> None:
    redis.data.lpush("tinyci:queue", b"caf\xe9")
    job_id = await store.take()
    assert job_id
    await store.release(job_id)
    assert await store.accepted_ids() == []


async def test_bytes_that_are_not_utf8_are_written_as_they_were(redis: Redis, store: StoreWriter) -> None:
    await store.update("x", {"output": "a\udcffb\n\0"})
    assert redis.data.execute_command("HGET", "tinyci:job:x", "output", NEVER_DECODE=True) == b"a\xffb\n\0"


# -- the log -----------------------------------------------------------------------------------------------------


async def test_output_is_read_from_a_line_on_and_who_reads_is_told_of_more(redis: Redis) -> None:
    job_ids: list[str] = []

    class Logs(StoreListener):
        def log_grew(self, job_id: str) -> None:
            job_ids.append(job_id)

    store = StoreWriter(redis.socket, "daemon", "secret-daemon", Logs())
    assert await store.lines("x", 0, 10) == []
    await store.add_lines("x", 1, ["one", "", "three"])
    assert job_ids == ["x"]
    assert await store.lines("x", 0, 2) == [(1, "one"), (2, "")]
    assert await store.lines("x", 2, 10) == [(3, "three")]
    assert await store.lines("x", 3, 10) == []
    await store.close()


async def test_lines_are_numbered_from_one(redis: Redis, store: StoreWriter) -> None:
    assert await store.line_count("x") == 0
    await store.add_lines("x", 1, ["one", "", "three"])
    await store.add_lines("x", 4, ["four"])
    lines = [(entry, fields["line"]) for entry, fields in redis.data.xrange("tinyci:log:x")]
    assert lines == [("1-0", "one"), ("2-0", ""), ("3-0", "three"), ("4-0", "four")]
    assert await store.line_count("x") == 4


async def test_lines_that_are_sent_twice_are_there_once(redis: Redis, store: StoreWriter) -> None:
    lines = [f"line {number}" for number in range(1, 2001)]
    await store.add_lines("x", 1, lines)
    await store.add_lines("x", 1, lines)
    await store.add_lines("x", 1001, [*lines[1000:], "new"])
    assert [fields["line"] for _, fields in redis.data.xrange("tinyci:log:x")] == [*lines, "new"]


# -- keys of other types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["job", "update", "state", "log", "logged", "output"])
async def test_a_job_of_another_type_is_told_at_once(redis: Redis, store: StoreWriter, operation: str) -> None:
    """Nothing mends it, so that nobody may wait for it."""
    for key in ("tinyci:job:x", "tinyci:log:x"):
        redis.data.set(key, "a string")
    with pytest.raises(StoreError, match="Redis has a key of another type"):
        async with asyncio.timeout(1):
            await {
                "job": lambda: store.job("x"),
                "update": lambda: store.update("x", {"output": ""}),
                "state": lambda: store.update("x", {"state": "failed"}),
                "log": lambda: store.add_lines("x", 1, ["a"]),
                "logged": lambda: store.line_count("x"),
                "output": lambda: store.lines("x", 0, 1),
            }[operation]()
