"""All logs together take no more of Redis' memory than they may; the oldest go first, and the jobs stay."""

import asyncio
from collections.abc import AsyncIterator, Callable, ItemsView, ValuesView

import pytest_asyncio
from servers import Redis
from tinyci.daemon.logbudget import LogBudget
from tinyci.store.listener import StoreListener
from tinyci.store.writer import StoreWriter

MIB = 1024 * 1024
LINE = "x" * 1000


class Room(StoreListener):
    """Has room made when Redis is full, as the daemon does."""

    def __init__(self) -> None:
        self.budget: LogBudget | None = None

    def redis_full(self) -> None:
        assert self.budget
        self.budget.redis_full()


@pytest_asyncio.fixture
async def full_store(own_redis: Redis) -> AsyncIterator[StoreWriter]:
    room = Room()
    writer = StoreWriter(own_redis.socket, "daemon", "secret-daemon", room)
    room.budget = budget = LogBudget(writer, 1 << 40)
    task = asyncio.create_task(budget.run())
    names = [f"{number}" for number in range(8)]
    for name in names:
        await writer.add_lines(name, 1, [LINE] * 1000)
    budget.add(names)
    yield writer
    task.cancel()
    await writer.close()


def logs(redis: Redis) -> list[str]:
    return sorted(key.removeprefix("tinyci:log:") for key in redis.data.keys("tinyci:log:*"))


async def until(is_so: Callable[[], bool], store: StoreWriter) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await store.ping()


async def test_the_oldest_logs_go_beyond_the_limit(redis: Redis, store: StoreWriter) -> None:
    for name in "abcd":
        await store.add_lines(name, 1, [LINE] * 1000)
        redis.data.hset(f"tinyci:job:{name}", "output", "the end")
    budget = LogBudget(store, 2 * MIB + MIB // 2)
    budget.add("ab")
    budget.add("cd")
    task = asyncio.create_task(budget.run())
    await until(lambda: logs(redis) == ["c", "d"], store)
    budget.set_limit(MIB + MIB // 2)
    await until(lambda: logs(redis) == ["d"], store)
    assert all(redis.data.hget(f"tinyci:job:{name}", "output") == "the end" for name in "abcd")
    budget.forget("d")
    await store.add_lines("e", 1, [LINE] * 1000)
    budget.add("e")
    budget.set_limit(MIB + MIB // 4)
    await until(lambda: logs(redis) == ["d", "e"], store)
    task.cancel()


class WatchedSizes(dict[str, int]):
    """Sizes of logs that count the looks at all of them."""

    looks = 0

    def values(self) -> ValuesView[int]:
        self.looks += 1
        return super().values()

    def items(self) -> ItemsView[str, int]:
        self.looks += 1
        return super().items()


async def test_the_end_of_a_job_looks_at_no_other_log_below_the_limit(redis: Redis, store: StoreWriter) -> None:
    budget = LogBudget(store, MIB)
    budget._sizes = sizes = WatchedSizes()
    task = asyncio.create_task(budget.run())
    for name in "abc":
        await store.add_lines(name, 1, ["printed"])
        budget.add(name)
        await until(lambda name=name: name in sizes, store)  # type: ignore[misc]
    assert sizes.looks == 0
    task.cancel()


async def test_a_full_redis_gets_room_and_the_write_goes_on(own_redis: Redis, full_store: StoreWriter) -> None:
    own_redis.data.config_set("maxmemory-policy", "noeviction")
    own_redis.data.config_set("maxmemory", own_redis.data.info("memory")["used_memory"] + 100_000)
    async with asyncio.timeout(20):
        await full_store.add_lines("new", 1, [LINE] * 1000)
    assert logs(own_redis) == ["4", "5", "6", "7", "new"]
