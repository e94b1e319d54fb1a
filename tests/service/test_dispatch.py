"""The queue goes on, whatever one job has to wait for."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from servers import Redis
from tinyci.daemon import dispatch
from tinyci.daemon.dispatch import Dispatch
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.jobrecord import JobRecord
from tinyci.daemon.listener import Listener
from tinyci.model import settings
from tinyci.model.job import Job
from tinyci.model.repos import Repos
from tinyci.model.state import State
from tinyci.runtime.directorywatch import watched
from tinyci.store.writer import StoreWriter
from tinyci.systemd.manager import ManagerDownError
from tinyci.systemd.managers import Managers

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}


class Stuck(Managers):
    """Managers that do not answer until they are let go, which cannot be had of a real one at the right moment."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.let_go = asyncio.Event()
        self.error: Exception | None = None

    async def ask(self, user: str, question: Callable[..., Awaitable[object]]) -> None:  # type: ignore[override]
        self.asked.put_nowait(user)
        await self.let_go.wait()
        if self.error:
            raise self.error


@pytest.fixture
def managers() -> Stuck:
    return Stuck()


@pytest_asyncio.fixture
async def running(
    redis: Redis, store: StoreWriter, managers: Stuck, tmp_path: Path
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Takes up and runs what is in Redis, until the test is over."""
    dispatch_settings = settings.parse("tinyci.toml", '[keep]\nage = "60s"', cpus=2)
    running_dispatch = Dispatch(store, managers, dispatch_settings, Repos(), Listener(), HostAccess(job_files=tmp_path))
    tasks: list[asyncio.Task[None]] = []

    async def run() -> None:
        await running_dispatch.resume()
        tasks.append(asyncio.create_task(running_dispatch.run()))

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_push_that_was_kept_is_taken_in_as_soon_as_it_is_there(
    redis: Redis, store: StoreWriter, managers: Stuck, tmp_path: Path
) -> None:
    """Long before the daemon asks Redis anew, which it does each minute."""
    spool = tmp_path / "spool"
    spool.mkdir()
    (tmp_path / "jobs").mkdir()
    host = HostAccess(job_files=tmp_path / "jobs", spool=str(spool))
    spooled = Dispatch(store, managers, settings.parse("tinyci.toml", "", cpus=2), Repos(), Listener(), host)
    with watched(str(spool), spooled.spool_news):
        await spooled.resume()
        task = asyncio.create_task(spooled.run())
        try:
            for number in range(3):
                job_id = str(uuid.uuid4())
                (spool / ".new").write_text(json.dumps({"id": job_id, **FIELDS}))
                (spool / ".new").rename(spool / f"179000000000000{number}-0001-{job_id}.json")
                assert (await ended(redis, job_id))["state"] == "rejected"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def add(redis: Redis, key: str, **fields: str) -> str:
    job_id = str(uuid.uuid4())
    redis.data.hset(f"tinyci:job:{job_id}", mapping={**FIELDS, **fields})
    redis.data.lpush(key, job_id)
    return job_id


async def ended(redis: Redis, job_id: str) -> dict[str, str]:
    async with asyncio.timeout(5):
        while "finished" not in (job := redis.data.hgetall(f"tinyci:job:{job_id}")):
            await asyncio.to_thread(redis.data.xread, {"tinyci:events": "$"}, block=100)
    return job


async def accepted(redis: Redis, ids: list[str]) -> None:
    async with asyncio.timeout(5):
        while redis.data.lrange("tinyci:accepted", 0, -1) != ids:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0)


async def test_a_job_that_waits_to_be_cleared_away_holds_up_no_other(
    redis: Redis, managers: Stuck, running: Callable[[], Awaitable[None]]
) -> None:
    first = add(redis, "tinyci:accepted", state="succeeded", user="web", attempt="1")
    await running()
    assert await managers.asked.get() == "web"
    others = [add(redis, "tinyci:queue", ref=f"refs/heads/{number}") for number in range(3)]
    assert [(await ended(redis, each))["state"] for each in others] == ["rejected"] * 3
    await accepted(redis, [first])
    managers.let_go.set()
    await accepted(redis, [])
    assert redis.data.hget(f"tinyci:job:{first}", "state") == "succeeded"


async def test_an_ended_job_of_a_user_who_is_gone_is_cleared_away_all_the_same(
    redis: Redis, managers: Stuck, running: Callable[[], Awaitable[None]]
) -> None:
    managers.error = ManagerDownError("there is no user web on this host")
    managers.let_go.set()
    add(redis, "tinyci:accepted", state="failed", user="web", attempt="1")
    await running()
    await accepted(redis, [])


async def test_leftovers_that_cannot_be_cleared_are_told_once_and_tried_again(
    redis: Redis,
    managers: Stuck,
    running: Callable[[], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever comes of a manager's answers, none of it ends the daemon."""
    monkeypatch.setattr(dispatch, "SWEEP", 0.05)
    managers.error = IndexError("no such answer was thought of")
    managers.let_go.set()
    left = add(redis, "tinyci:accepted", state="failed", user="web", attempt="1")
    await running()
    for _ in range(10):
        assert await managers.asked.get() == "web"
    other = add(redis, "tinyci:queue")
    assert (await ended(redis, other))["state"] == "rejected"
    await accepted(redis, [left])
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [f"job {left} cannot be cleared away: no such answer was thought of"]
    managers.error = None
    await accepted(redis, [])


async def test_a_job_that_waited_for_longer_than_jobs_are_kept_is_not_forgotten(
    redis: Redis, running: Callable[[], Awaitable[None]]
) -> None:
    redis.data.set("tinyci:paused", "since long")
    waiting = [add(redis, "tinyci:accepted"), add(redis, "tinyci:queue")]
    lost_id = str(uuid.uuid4())
    redis.data.zadd("tinyci:jobs", dict.fromkeys([*waiting, lost_id], time.time() - 100))
    await running()
    await accepted(redis, waiting[::-1])
    assert sorted(redis.data.zrange("tinyci:jobs", 0, -1)) == sorted(waiting)
    assert redis.data.hgetall(f"tinyci:job:{waiting[0]}")["repo"] == "web"


# -- the hook's account --------------------------------------------------------------------------------------------


async def test_a_push_whose_id_was_removed_from_the_queue_ends_too(
    redis: Redis, running: Callable[[], Awaitable[None]]
) -> None:
    job_id = str(uuid.uuid4())
    redis.data.hset(f"tinyci:new:{job_id}", mapping=FIELDS)
    await running()
    job = await ended(redis, job_id)
    assert (job["state"], job["repo"]) == ("failed", "web")
    assert "removed from the queue" in job["reason"]
    assert not redis.data.exists(f"tinyci:new:{job_id}")


async def test_an_ended_job_that_is_pushed_again_stays_as_it_ended(
    redis: Redis, managers: Stuck, running: Callable[[], Awaitable[None]]
) -> None:
    managers.let_go.set()
    await running()
    job_id = add(redis, "tinyci:queue")
    before = await ended(redis, job_id)
    redis.data.hset(f"tinyci:new:{job_id}", mapping={**FIELDS, "state": "queued", "revision": "b" * 40})
    redis.data.lpush("tinyci:queue", job_id)
    last = add(redis, "tinyci:queue")
    await ended(redis, last)
    await accepted(redis, [])
    assert redis.data.hgetall(f"tinyci:job:{job_id}") == before
    events = [fields["job"] for _, fields in redis.data.xrange("tinyci:events")]
    assert events.count(job_id) == events.count(last) == 2


async def test_texts_of_any_length_in_the_queue_are_dropped(
    redis: Redis, running: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    redis.data.lpush("tinyci:queue", *["x" * 1_000_000] * 3)
    job_id = add(redis, "tinyci:queue")
    await running()
    await ended(redis, job_id)
    await accepted(redis, [])
    assert caplog.text.count("the queue held a text of 1000000 characters") == 3
    assert redis.data.keys("tinyci:job:*") == [f"tinyci:job:{job_id}"]


class Forgetful(Listener):
    """A listener that keeps nothing of jobs."""

    def __init__(self) -> None:
        self.changes: list[dict[str, str]] = []

    def lacks_fields(self, job_id: str) -> bool:
        return True

    def job_changed(self, job_id: str, repo: str, changes: Mapping[str, str]) -> None:
        self.changes.append(dict(changes))


async def test_who_keeps_nothing_of_a_job_hears_all_of_it_when_it_begins(store: StoreWriter) -> None:
    job_id, listener = str(uuid.uuid4()), Forgetful()
    await store.add(job_id, {**FIELDS, "state": "queued"}, 1.0)
    await JobRecord(Job.parse(job_id, FIELDS), store, listener).enter(State.BUILDING, {"attempt": "1"})
    assert listener.changes == [{**FIELDS, "state": "building", "attempt": "1"}]
