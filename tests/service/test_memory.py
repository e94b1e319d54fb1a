"""The Redis in memory, with which the daemon is simulated, answers as a real one does."""

import asyncio
import time
from pathlib import Path
from typing import Any

from fakeredis import FakeRedis, FakeStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import LossyProxy, Redis
from tinyci.model.state import State
from tinyci.store.writer import StoreWriter

IDS = tuple(f"00000000-0000-4000-8000-00000000000{letter}" for letter in "abcd")
ids = st.sampled_from(IDS)
fields = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([State.QUEUED, State.BUILDING, State.FAILED, State.SUCCEEDED]),
        "repo": st.sampled_from(["web", "api"]),
        "reason": st.text(max_size=3),
        "created": st.sampled_from(["2026-01-02T03:04:05.000006Z", "9999-01-01T00:00:00Z", "x"]),
    },
).filter(bool)
# What is asked, with its arguments; "push" is the hook's.
questions = st.one_of(
    st.tuples(st.just("push"), ids, fields, st.sampled_from([1.0, None])),
    st.tuples(st.just("add"), ids, fields, st.integers(1, 9)),
    st.tuples(st.just("update"), ids, fields),
    st.tuples(
        st.just("add_lines"), ids, st.integers(1, 4), st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=3)
    ),
    st.tuples(st.sampled_from(["job", "release", "line_count", "forget_new"]), ids),
    st.tuples(st.just("admit"), st.lists(ids, max_size=3, unique=True), st.just(2_000_000_000.0)),
    st.tuples(st.just("update_all"), st.dictionaries(ids, fields, min_size=1, max_size=3)),
    st.tuples(st.just("take_more"), st.integers(1, 3)),
    st.tuples(st.just("live_ids"), st.lists(ids, max_size=3)),
    st.tuples(st.just("forget"), st.lists(ids, min_size=1, max_size=3)),
    st.tuples(st.just("set_paused"), st.booleans()),
    st.tuples(st.just("recent_ids"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["take", "accepted_ids", "new_ids", "queue_length", "is_paused", "kept_jobs"])),
)
losses = st.sampled_from([False, False, False, False, True])  # a connection that is lost takes 0.1 s
# What of a question is lost with the connection: the answer to the command that changes something.
CHANGES = {
    **{
        "add": b"EVALSHA",
        "admit": b"EVALSHA",
        "update": b"EVALSHA",
        "update_all": b"EVALSHA",
        "forget_new": b"UNLINK",
        "add_lines": b"XADD",
        "release": b"EVALSHA",
        "forget": b"UNLINK",
    },
    **{"set_paused": b"tinyci:paused", "take": b"BLMOVE"},
}


class Lossy(FakeStore):
    """A store that hears the next answer only the second time."""

    def __init__(self, memory: FakeRedis) -> None:
        super().__init__(memory, self._loses)
        self.lose = False
        self._times = 0
        self._server = memory

    async def _loses(self) -> None:
        await asyncio.sleep(0)
        self._times += 1
        if self.lose and self._times % 2 == 0:
            self.lose = False
            self._server.crash()
            self._server.start()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.tuples(questions, losses), max_size=30))
def test_it_answers_as_a_real_one(redis: Redis, tmp_path: Path, asked: list[tuple[tuple[Any, ...], bool]]) -> None:
    redis.data.flushall()
    asyncio.run(compare(redis, tmp_path / "proxy", asked))
    (tmp_path / "proxy").unlink()


async def compare(redis: Redis, path: Path, asked: list[tuple[tuple[Any, ...], bool]]) -> None:
    memory = FakeRedis(time.time)
    async with LossyProxy(path, redis) as proxy:
        real, lossy = StoreWriter(proxy.socket, "daemon", "secret-daemon"), Lossy(memory)
        for (name, *arguments), lose in asked:
            if name == "push":
                push(redis, *arguments)
                memory.push(*arguments)
                continue
            if name == "take" and len(memory.queue) < 1 + lose:
                continue  # it would wait
            proxy.lose, lossy.lose = (CHANGES.get(name, b""), name in CHANGES) if lose else (b"", False)
            options = {"paused": arguments.pop()} if name == "set_paused" else {}
            answers = [shown(await getattr(store, name)(*arguments, **options)) for store in (real, lossy)]
            proxy.lose, lossy.lose = b"", False
            assert answers[0] == answers[1], name
        await real.close()
    for key, hashes in (("tinyci:job", memory.hashes), ("tinyci:new", memory.new)):
        everything = {name: redis.data.hgetall(f"{key}:{name}") for name in IDS}
        assert {name: values for name, values in everything.items() if values} == hashes
    assert redis.data.lrange("tinyci:queue", 0, -1)[::-1] == memory.queue
    assert redis.data.lrange("tinyci:accepted", 0, -1)[::-1] == memory.accepted
    assert redis.data.zrange("tinyci:jobs", 0, -1) == [job_id for _, job_id in memory.indexed()]
    assert [(each["job"], each["state"]) for _, each in redis.data.xrange("tinyci:events")] == memory.events
    for name in IDS:
        lines = [(int(number.split("-")[0]), each["line"]) for number, each in redis.data.xrange(f"tinyci:log:{name}")]
        assert lines == list(memory.logs.get(name, {}).items())


def push(redis: Redis, job_id: str, values: dict[str, str], created: float | None) -> None:
    if values:
        redis.data.hset(f"tinyci:{'job' if created is None else 'new'}:{job_id}", mapping=values)
    redis.data.lpush("tinyci:queue", job_id)


def shown(answer: Any) -> Any:
    """The time at which a job was first written is not the same in both."""
    if isinstance(answer, list):
        return [each._replace(time=0.0) if hasattr(each, "time") else each for each in answer]
    return answer
