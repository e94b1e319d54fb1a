"""A Redis that goes away loses nothing and does nothing twice; who uses the store only has to wait."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from servers import LossyProxy, Redis
from tinyci.store import writer as store_module
from tinyci.store.listener import StoreListener
from tinyci.store.writer import StoreWriter

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}


class OutageQueue(StoreListener, asyncio.Queue[str | None]):
    """Outages, which can be awaited: the error of each, and None for its end."""

    def redis_away(self, error: str) -> None:
        self.put_nowait(error)

    def redis_back(self) -> None:
        self.put_nowait(None)


class WatchedStore(StoreWriter):
    """A store whose outages can be awaited."""

    def __init__(self, socket: str, password: str = "secret-daemon") -> None:
        self.outages = OutageQueue()
        super().__init__(socket, "daemon", password, self.outages)


@asynccontextmanager
async def watched(socket: str, password: str = "secret-daemon") -> AsyncIterator[WatchedStore]:
    store = WatchedStore(socket, password)
    try:
        yield store
    finally:
        await store.close()


@pytest_asyncio.fixture
async def store(own_redis: Redis) -> AsyncIterator[WatchedStore]:
    async with watched(own_redis.socket) as store:
        await store.ping()
        yield store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that does not answer is noticed soon. Before `store`."""
    monkeypatch.setattr(store_module, "_TIMEOUT", 0.2)
    monkeypatch.setattr(store_module, "_BLOCK", 0.2)


def push(redis: Redis, *job_ids: str) -> None:
    for job_id in job_ids:
        redis.data.lpush("tinyci:queue", job_id)


def states(redis: Redis) -> list[str]:
    return [event["state"] for _, event in redis.data.xrange("tinyci:events")]


# -- a Redis that is not there -----------------------------------------------------------------------------------


async def test_an_operation_waits_for_a_dead_redis_and_is_then_done_once(own_redis: Redis, store: WatchedStore) -> None:
    own_redis.kill()
    writing = asyncio.create_task(store.update("x", {"state": "building"}))
    error = await store.outages.get()
    assert error
    assert not writing.done()
    own_redis.start()
    assert await writing
    assert await store.outages.get() is None
    assert states(own_redis) == ["building"]


async def test_an_outage_is_told_once_however_many_wait(own_redis: Redis, store: WatchedStore) -> None:
    own_redis.kill()
    waiting = [asyncio.create_task(store.update(f"{number}", {"state": "building"})) for number in range(5)]
    waiting += [asyncio.create_task(store.update(f"{number}", {"state": "failed"})) for number in range(5, 10)]
    assert await store.outages.get()
    await asyncio.wait(waiting, timeout=0.5)
    assert store.outages.empty()
    own_redis.start()
    await asyncio.gather(*waiting)
    assert await store.outages.get() is None
    assert store.outages.empty()
    assert len(states(own_redis)) == 10


async def test_a_second_outage_is_told_again(own_redis: Redis, store: WatchedStore) -> None:
    for _ in range(2):
        own_redis.kill()
        pinging = asyncio.create_task(store.ping())
        assert await store.outages.get()
        own_redis.start()
        await pinging
        assert await store.outages.get() is None


async def test_a_redis_that_dies_while_we_wait_for_a_job_is_noticed_and_missed(
    own_redis: Redis, store: WatchedStore
) -> None:
    push(own_redis, "before")
    assert await store.take() == "before"
    taking = asyncio.create_task(store.take())
    await own_redis.wait_for_blocked_client()
    own_redis.kill()
    assert await store.outages.get()
    own_redis.start()
    assert own_redis.data.lrange("tinyci:accepted", 0, -1) == ["before"]
    own_redis.data.lpush("tinyci:queue", "after")
    assert await taking == "after"
    assert await store.outages.get() is None


async def test_what_was_acknowledged_survives_a_crash_of_redis(own_redis: Redis, store: WatchedStore) -> None:
    await store.add("x", FIELDS, 1.0)
    await store.update("x", {"state": "failed", "reason": "because"})
    own_redis.kill()
    own_redis.start()
    assert (await store.job("x"))["reason"] == "because"
    assert await store.accepted_ids() == ["x"]
    assert await store.recent_ids(1) == ["x"]
    assert states(own_redis) == ["failed"]


async def test_a_redis_that_is_not_there_yet_is_awaited(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    async with watched(redis.socket) as store:
        pinging = asyncio.create_task(store.ping())
        assert "No such file" in str(await store.outages.get())
        redis.start()
        try:
            await pinging
        finally:
            redis.close()


async def test_a_password_that_is_wrong_is_told_and_waited_for(own_redis: Redis) -> None:
    async with watched(own_redis.socket, "secret-new") as store:
        pinging = asyncio.create_task(store.ping())
        assert "invalid username-password pair" in str(await store.outages.get())
        own_redis.data.acl_setuser("daemon", enabled=True, passwords=["+secret-new"])
        await pinging
        assert await store.outages.get() is None


async def test_a_wait_for_a_dead_redis_can_be_cancelled(own_redis: Redis, store: WatchedStore) -> None:
    own_redis.kill()
    taking = asyncio.create_task(store.take())
    assert await store.outages.get()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking


# -- a Redis that hangs ------------------------------------------------------------------------------------------


async def test_a_redis_that_hangs_is_noticed_and_the_operation_done_once(
    own_redis: Redis, impatient: None, store: WatchedStore
) -> None:
    own_redis.pause()
    writing = asyncio.create_task(store.update("x", {"state": "failed"}))
    assert await store.outages.get()
    own_redis.resume()
    assert await writing
    assert await store.outages.get() is None
    assert states(own_redis) == ["failed"]


async def test_a_redis_that_hangs_while_we_wait_for_a_job_loses_none(
    own_redis: Redis, impatient: None, store: WatchedStore
) -> None:
    push(own_redis, "first", "second")
    own_redis.pause()
    taking = asyncio.create_task(store.take())
    assert await store.outages.get()
    own_redis.resume()
    await taking  # "first" may have gone to the connection that was given up
    while await store.take():
        pass
    assert await store.accepted_ids() == ["first", "second"]
    assert await store.queue_length() == 0


# -- a reply that is lost ----------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def proxy(redis: Redis, tmp_path: Path) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(tmp_path / "proxy.sock", redis) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def lossy(proxy: LossyProxy) -> AsyncIterator[WatchedStore]:
    """A store over the proxy."""
    async with watched(proxy.socket) as store:
        yield store


async def test_lines_whose_acknowledgement_was_lost_are_there_once(
    redis: Redis, proxy: LossyProxy, lossy: WatchedStore
) -> None:
    proxy.lose = b"XADD"
    await lossy.add_lines("x", 1, ["one", "two"])
    assert await lossy.outages.get()
    assert [fields["line"] for _, fields in redis.data.xrange("tinyci:log:x")] == ["one", "two"]


async def test_a_job_whose_acknowledgement_was_lost_is_added_once(
    redis: Redis, proxy: LossyProxy, lossy: WatchedStore
) -> None:
    proxy.lose = b"EXEC"
    await lossy.add("x", FIELDS, 1.0)
    assert redis.data.lrange("tinyci:accepted", 0, -1) == ["x"]


async def test_a_job_whose_taking_was_not_heard_of_is_accepted(
    redis: Redis, proxy: LossyProxy, lossy: WatchedStore
) -> None:
    push(redis, "first", "second")
    proxy.lose = b"BLMOVE"
    assert await lossy.take() == "second"
    assert await lossy.outages.get()
    assert await lossy.accepted_ids() == ["first", "second"]


async def test_a_state_whose_acknowledgement_was_lost_is_one_event(
    redis: Redis, proxy: LossyProxy, lossy: WatchedStore
) -> None:
    proxy.lose = b"EXEC"
    assert await lossy.update("x", {"state": "building", "attempt": "1"})
    assert states(redis) == ["building"]


async def test_an_end_whose_acknowledgement_was_lost_is_ours(
    redis: Redis, proxy: LossyProxy, lossy: WatchedStore
) -> None:
    proxy.lose = b"EXEC"
    assert await lossy.update("x", {"state": "failed", "success": "false", "finished": "now"})
    assert states(redis) == ["failed"]


# -- a list or an index that is none -----------------------------------------------------------------------------


async def test_a_job_is_not_lost_to_a_list_of_another_type(own_redis: Redis, store: WatchedStore) -> None:
    own_redis.data.set("tinyci:accepted", "a string")
    adding = asyncio.create_task(store.add("x", FIELDS, 1.0))
    assert await store.outages.get()
    own_redis.data.delete("tinyci:accepted")
    await adding
    assert await store.outages.get() is None
    assert await store.accepted_ids() == ["x"]
    assert await store.job("x") == FIELDS


@pytest.mark.parametrize("key", ["tinyci:jobs", "tinyci:events"])
async def test_a_change_is_not_lost_to_an_index_of_another_type(
    own_redis: Redis, store: WatchedStore, key: str
) -> None:
    own_redis.data.set(key, "a string")
    writing = asyncio.create_task(store.update("x", {"state": "building"}))
    assert await store.outages.get()
    own_redis.data.delete(key)
    assert await writing
    assert await store.outages.get() is None
    assert states(own_redis) == ["building"]
    assert await store.recent_ids(1) == ["x"]


async def test_a_connection_that_is_reset_is_an_outage(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    outages = OutageQueue()
    with socket.socket(socket.AF_UNIX) as server:
        server.setblocking(False)
        server.bind(str(tmp_path / "redis.sock"))
        server.listen()
        store = StoreWriter(str(tmp_path / "redis.sock"), "daemon", "secret", outages)
        asking = asyncio.ensure_future(store.ping())
        async with asyncio.timeout(20):
            connection, _ = await loop.sock_accept(server)
            assert await loop.sock_recv(connection, 1)
            connection.close()  # what is left unread makes a reset of it
            assert "Connection reset by peer" in str(await outages.get())
        assert not asking.done()
    asking.cancel()
    await asyncio.wait((asking,))
    await store.close()
