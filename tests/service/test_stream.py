"""The events as a consumer group reads them from a real Redis, as the user that its ACL has for that."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from servers import Redis
from tinyci.store import eventgroup as stream_module
from tinyci.store.eventgroup import EventGroup, EventGroupError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_BLOCK", 0.05)


@pytest_asyncio.fixture
async def stream(redis: Redis) -> AsyncIterator[EventGroup]:
    stream = EventGroup(redis.socket, "secret-notify")
    yield stream
    await stream.close()


def happen(redis: Redis, *states: str) -> list[str]:
    return [redis.data.xadd("tinyci:events", {"job": "x", "state": state}) for state in states]


def states(entries: list[stream_module.StreamEntry]) -> list[str]:
    return [values.get("state", "") for _, values in entries]


async def test_nothing_old_is_told_and_nothing_new_is_missed(redis: Redis, stream: EventGroup) -> None:
    happen(redis, "old")
    assert await stream.join("") == 0
    assert await stream.read_new() == []
    happen(redis, "failed", "succeeded")
    await stream.close()  # nobody reads for a while
    happen(redis, "rejected")
    assert await stream.join("") == 0
    assert states(await stream.read_new()) == ["failed", "succeeded", "rejected"]


async def test_what_was_given_and_is_not_done_is_given_again(redis: Redis, stream: EventGroup) -> None:
    await stream.join("")
    happen(redis, "1", "2", "3")
    entries = await stream.read_new()
    await stream.acknowledge([entries[0][0]])
    assert await stream.read_new() == [], "they are ours already"
    again = await stream.read_pending("0")
    assert states(again) == ["2", "3"]
    assert states(await stream.read_pending(again[0][0])) == ["3"]
    await stream.acknowledge([number for number, _ in again])
    assert await stream.read_pending("0") == []


async def test_how_many_events_are_lost_is_known_exactly(redis: Redis, stream: EventGroup) -> None:
    await stream.join("")
    happen(redis, *"abc")
    await stream.acknowledge([number for number, _ in await stream.read_new()])
    happen(redis, *"defghi")
    redis.data.xtrim("tinyci:events", maxlen=6, approximate=False)
    assert await stream.join("") == 0, "only what was read is gone"
    redis.data.xtrim("tinyci:events", maxlen=2, approximate=False)
    assert await stream.join("") == 4
    assert await stream.join("") == 0, "and is told once"
    assert states(await stream.read_new()) == ["h", "i"]
    assert await stream.join("") == 0
    happen(redis, *"jkl")
    redis.data.xtrim("tinyci:events", maxlen=1, approximate=False)
    assert await stream.join("") == 2


async def test_what_was_given_and_then_cut_off_has_no_fields(redis: Redis, stream: EventGroup) -> None:
    await stream.join("")
    happen(redis, "1", "2")
    await stream.read_new()
    redis.data.xtrim("tinyci:events", maxlen=1, approximate=False)
    assert states(await stream.read_pending("0")) == ["", "2"]


async def test_a_group_that_is_gone_is_made_where_we_were(redis: Redis, stream: EventGroup) -> None:
    await stream.join("")
    (position, _, _) = happen(redis, "read", "1", "2")
    redis.data.xgroup_destroy("tinyci:events", "notify")
    with pytest.raises(EventGroupError, match="NOGROUP"):
        await stream.read_new()
    await stream.join(position)
    assert states(await stream.read_new()) == ["1", "2"]
    redis.data.flushall()
    await stream.join(position)
    happen(redis, "3")
    assert states(await stream.read_new()) == ["3"]


async def test_details_are_some_fields_of_a_hash_and_no_more(redis: Redis, stream: EventGroup) -> None:
    redis.data.hset("tinyci:job:x", mapping={"output": "a\n", "started": "s", "repo": "x" * 1_000_000})
    assert await stream.details("x") == {"output": "a\n", "started": "s"}
    assert await stream.details("unknown") == {}
    redis.data.set("tinyci:job:y", "text")
    assert await stream.details("y") == {}


async def test_a_redis_that_does_not_let_us_in_is_an_error_in_a_sentence(redis: Redis) -> None:
    stream = EventGroup(redis.socket, "wrong")
    with pytest.raises(EventGroupError, match="invalid username-password pair"):
        await stream.join("")
    await stream.close()


async def test_a_redis_that_comes_back_is_used_again(own_redis: Redis) -> None:
    stream = EventGroup(own_redis.socket, "secret-notify")
    await stream.join("")
    reading = asyncio.create_task(stream.read_new())
    own_redis.kill()
    with pytest.raises(EventGroupError):
        await reading
        await stream.read_new()
    own_redis.start()
    await stream.join("")
    happen(own_redis, "1")
    assert states(await stream.read_new()) == ["1"]
    await stream.close()


async def test_a_cancellation_at_whatever_moment_is_heard(stream: EventGroup) -> None:
    await stream.join("")
    for turns in range(20):
        reading = asyncio.create_task(stream.read_new())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        finished_tasks, _ = await asyncio.wait((reading,), timeout=2)
        assert finished_tasks
        assert reading.cancelled()
