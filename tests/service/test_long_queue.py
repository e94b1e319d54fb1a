"""Jobs that wait cost the daemon as much each when there are many of them."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from busclient import BusClient
from servers import MessageBus, Redis
from tinyci.api.jobobject import path_of
from tinyci.api.jobregistry import LISTED
from tinyci.daemon import main
from tinyci.daemon.main import Daemon
from tinyci.dbus.bus import Bus

REPOS = 8


@pytest_asyncio.fixture
async def daemon(
    redis: Redis, system_bus: MessageBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Daemon]:
    """A daemon whose queue is paused."""
    etc = tmp_path / "etc"
    (etc / "repos.d").mkdir(parents=True)
    (etc / "tinyci.toml").write_text(f'[redis]\nsocket = "{redis.socket}"\n')
    for number in range(REPOS):
        text = f'repository = "/srv/git/{number}.git"\nuser = "user{number}"\nrefs = ["refs/tags/*"]\n'
        (etc / "repos.d" / f"repo{number}.toml").write_text(text)
    monkeypatch.setattr(main, "log_to_journal", lambda: None)
    redis.data.set("tinyci:paused", "x")
    daemon = Daemon(etc, "secret-daemon")
    serving = asyncio.create_task(daemon._serve())
    yield daemon
    serving.cancel()
    await asyncio.wait({serving})
    await daemon._api.close()
    await daemon._store.close()


def push(redis: Redis, count: int) -> list[str]:
    """Add jobs as the hook does, each of another tag. Return their ids."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    with redis.data.pipeline(transaction=False) as pipe:
        for number, job_id in enumerate(ids):
            fields = {"repo": f"repo{number % REPOS}", "ref": f"refs/tags/{job_id}", "revision": "a" * 40}
            pipe.hset(f"tinyci:new:{job_id}", mapping=fields)
            pipe.lpush("tinyci:queue", job_id)
        pipe.execute()
    return ids


async def test_a_job_behind_thousands_costs_as_much_as_the_first(
    redis: Redis, daemon: Daemon, system_bus: MessageBus
) -> None:
    bus = await Bus.connect(system_bus.address)
    client = BusClient(bus)
    await bus.match("type='signal',interface='org.tinyci1.Manager',member='JobNew'")
    costs = []
    for _ in range(6):
        push(redis, 500)
        begin = time.thread_time()
        for _ in range(500):
            await client.signals.get()
        costs.append(time.thread_time() - begin)
    await bus.close()
    assert daemon._dispatch.queue_length == 3000
    assert min(costs[3:]) < 2 * min(costs[:2]), "seconds of the processor for 500 jobs each"


async def test_a_job_that_waited_unlisted_is_whole_on_the_bus_when_it_ends(
    redis: Redis, daemon: Daemon, system_bus: MessageBus
) -> None:
    bus = await Bus.connect(system_bus.address)
    client = BusClient(bus)
    await bus.match("type='signal',interface='org.tinyci1.Manager'")
    first, *others = push(redis, LISTED + 1)
    for _ in (first, *others):
        await client.signals.get()
    assert daemon.lacks_fields(first)
    await daemon._dispatch.cancel(first)
    assert (await client.signals.get())[2:] == ("JobRemoved", [first, path_of(first), "cancelled"])
    values = {name: await client.get(path_of(first), "org.tinyci1.Job", name) for name in ("Repo", "Ref", "State")}
    assert values == {"Repo": ("s", "repo0"), "Ref": ("s", f"refs/tags/{first}"), "State": ("s", "cancelled")}
    await bus.close()
