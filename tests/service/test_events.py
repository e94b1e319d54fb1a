"""Events as the daemon answers ReadEvents, and as `tinyci events` shows them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fakerequests import ID, NEW_ID, FakeRequests
from objectserver import object_server, serving
from servers import INTERRUPTIBLE, TREE, MessageBus, Redis
from tinyci.api import longpoll
from tinyci.api.eventreader import EventReader
from tinyci.api.jobsource import JobSource
from tinyci.api.longpoll import PositionError
from tinyci.api.objects import ObjectServer
from tinyci.store.listener import StoreListener
from tinyci.store.writer import StoreWriter


class Waker(StoreListener):
    """Wakes a reader for each event, as the daemon does."""

    reader: EventReader

    def event_added(self) -> None:
        self.reader.wake()


@pytest_asyncio.fixture
async def reader_and_store(redis: Redis) -> AsyncIterator[tuple[EventReader, StoreWriter]]:
    """A reader of a real Redis, and the store that wakes it."""
    waker = Waker()
    store = StoreWriter(redis.socket, "daemon", "secret-daemon", waker)
    waker.reader = EventReader(JobSource(store))
    yield waker.reader, store
    await store.close()


Both = tuple[EventReader, StoreWriter]


def jobs_and_states(events: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(event["job"], event["state"]) for event in events]


async def test_events_are_read_once_each_from_a_position_on(reader_and_store: Both) -> None:
    reader, store = reader_and_store
    for number in range(3):
        await store.update(f"{number}", {"state": "queued"})
    position, has_gap, events = await reader.read("0-0", wait=False)
    assert (jobs_and_states(events), has_gap) == ([("0", "queued"), ("1", "queued"), ("2", "queued")], False)
    assert events[-1]["position"] == position
    assert await reader.read(position, wait=False) == (position, False, [])
    await store.update("0", {"state": "building"})
    assert jobs_and_states((await reader.read(position, wait=False))[2]) == [("0", "building")]
    assert jobs_and_states((await reader.read(events[0]["position"], wait=False))[2])[0] == ("1", "queued")


async def test_the_last_ones_and_what_comes_from_now_on_can_be_asked_for(reader_and_store: Both) -> None:
    reader, store = reader_and_store
    assert await reader.read("-5", wait=False) == ("0-0", False, [])
    assert await reader.read("", wait=False) == ("0-0", False, [])
    for number in range(5):
        await store.update(f"{number}", {"state": "queued"})
    position, _, events = await reader.read("-2", wait=False)
    assert jobs_and_states(events) == [("3", "queued"), ("4", "queued")]
    assert await reader.read("", wait=False) == (position, False, [])
    assert len((await reader.read("-500", wait=False))[2]) == 5


@pytest.mark.parametrize("after", ["", "0-0"])
async def test_who_waits_is_answered_as_soon_as_something_happens(reader_and_store: Both, after: str) -> None:
    reader, store = reader_and_store
    waiting = [asyncio.create_task(reader.read(after, wait=True)) for _ in range(20)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await store.update("x", {"state": "queued"})
    for answer in await asyncio.gather(*waiting):
        assert jobs_and_states(answer[2]) == [("x", "queued")]
    assert time.monotonic() - began < 2


async def test_who_waits_in_vain_is_told_so(reader_and_store: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longpoll, "PATIENCE", 0.1)
    reader, store = reader_and_store
    await store.update("x", {"state": "queued"})
    position, has_gap, events = await reader.read("", wait=True)
    assert (has_gap, events) == (False, [])
    assert await reader.read(position, wait=True) == (position, False, [])


async def test_that_events_are_gone_is_said_and_not_passed_over(reader_and_store: Both, redis: Redis) -> None:
    reader, store = reader_and_store
    await store.update("old", {"state": "queued"})
    position, _, _ = await reader.read("0-0", wait=False)
    for number in range(3):
        await store.update(f"{number}", {"state": "queued"})
    redis.data.xtrim("tinyci:events", maxlen=2, approximate=False)
    position, has_gap, events = await reader.read(position, wait=True)
    assert (has_gap, jobs_and_states(events)) == (True, [("1", "queued"), ("2", "queued")])
    assert await reader.read(position, wait=False) == (position, False, [])
    assert (await reader.read("0-0", wait=False))[1] is False, "who begins has missed nothing"


async def test_the_position_of_another_stream_is_one_from_which_events_are_missing(
    reader_and_store: Both, redis: Redis
) -> None:
    reader, store = reader_and_store
    await store.update("x", {"state": "queued"})
    position, has_gap, events = await reader.read("99999999999999-0", wait=True)
    assert (has_gap, jobs_and_states(events)) == (True, [("x", "queued")])
    redis.data.delete("tinyci:events")
    assert await reader.read(position, wait=True) == ("0-0", True, [])


async def test_an_answer_has_a_limit_and_goes_on_at_it(reader_and_store: Both, redis: Redis) -> None:
    reader, _ = reader_and_store
    with redis.data.pipeline() as pipe:
        for number in range(1200):
            pipe.xadd("tinyci:events", {"job": f"{number}", "state": "queued", "reason": "x" * 500})
        pipe.execute()
    after, jobs = "0-0", []
    while True:
        after, _, events = await reader.read(after, wait=False)
        if not events:
            break
        assert sum(len(text) for each in events for text in each.values()) <= 300_000
        jobs += [each["job"] for each in events]
    assert jobs == [f"{number}" for number in range(1200)]


@pytest.mark.parametrize("after", ["x", "-0", "-501", "-1x", "1", "1-", "-", "1-1-1", "1-1\n", "٣-0", "1" * 21 + "-0"])
async def test_what_is_no_position_is_refused(reader_and_store: Both, after: str) -> None:
    with pytest.raises(PositionError, match="expected the position that an earlier call returned"):
        await reader_and_store[0].read(after, wait=False)


# -- the command line --------------------------------------------------------------------------------------------


class Follower:
    """`tinyci events`, as a person or a script runs it."""

    def __init__(self, bus: MessageBus) -> None:
        self.environment = {
            **os.environ,
            "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
            "PYTHONPATH": str(TREE / "daemon"),
            "TZ": "UTC",
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *INTERRUPTIBLE,
            *(sys.executable, "-m", "tinyci.cli.main", "events", *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def ask(self, *arguments: str) -> tuple[int, str, str]:
        process = await self.start(*arguments)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def person(message_bus: MessageBus) -> Follower:
    return Follower(message_bus)


@pytest_asyncio.fixture
async def tinyci(system_bus: MessageBus, requests: FakeRequests) -> AsyncIterator[ObjectServer]:
    async with serving(requests, "mail", "web") as server:
        yield server


def happen(requests: FakeRequests, api: ObjectServer, state: str, repo: str = "web", **more: str) -> None:
    number = f"{1_700_000_000_000 + len(requests.stream)}-0"
    about = {"job": ID, "repo": repo, "ref": "refs/heads/main", "at": "2026-01-02T03:04:05.000006Z"}
    requests.stream.append((number, {**about, "state": state, **more}))
    api.event_added()


async def test_events_are_lines_in_a_pipe_and_objects_in_json(
    person: Follower, tinyci: ObjectServer, requests: FakeRequests
) -> None:
    assert await person.ask() == (0, "", "")
    happen(requests, tinyci, "building")
    happen(requests, tinyci, "failed", repo="mail", reason="a\tb\x1b[31m")
    first = f"2026-01-02T03:04:05.000006Z\tbuilding\tweb\trefs/heads/main\t{ID}\t\n"
    second = f"2026-01-02T03:04:05.000006Z\tfailed\tmail\trefs/heads/main\t{ID}\ta b\n"
    assert await person.ask() == (0, first + second, "")
    assert await person.ask("-n", "1") == (0, second, "")
    assert await person.ask("--lines=1", "web") == (0, first, "")
    assert await person.ask("-n", "1000") == (0, first + second, "")
    status, _, err = await person.ask("mial")
    assert (status, err) == (3, "tinyci: there is no repo 'mial': the repos are mail, web\n")
    _, out, _ = await person.ask("--json", "mail")
    (event,) = map(json.loads, out.splitlines())
    assert (event["job"], event["state"], event["reason"]) == (ID, "failed", "a\tb\x1b[31m")
    assert event["position"] == "1700000000001-0"
    assert (await person.ask("-n", "many"))[0] == 2


async def test_who_follows_hears_at_once_and_goes_on_when_the_daemon_is_back(
    person: Follower, tinyci: ObjectServer, requests: FakeRequests
) -> None:
    happen(requests, tinyci, "queued")
    process = await person.start("-f", "--json", "-n", "1")
    assert process.stdout
    assert process.stderr

    async def states(count: int) -> list[str]:
        assert process.stdout
        return [json.loads(await process.stdout.readline())["state"] for _ in range(count)]

    assert await states(1) == ["queued"]
    happen(requests, tinyci, "building")
    assert await states(1) == ["building"]
    await tinyci.close()
    assert b"waiting for it, no event is lost" in await process.stderr.readline()
    happen(requests, tinyci, "verifying")
    other = object_server(requests, "web")
    await other.connect()
    happen(requests, other, "succeeded")
    assert await states(2) == ["verifying", "succeeded"]
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130
    assert await process.stderr.read() == b""
    await other.close()


async def test_who_is_not_read_any_more_ends(person: Follower, tinyci: ObjectServer, requests: FakeRequests) -> None:
    """As journalctl does: also when nothing happens that it could try to write."""
    happen(requests, tinyci, "queued", job=NEW_ID)
    ours, its = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tinyci.cli.main", "events", "-f"),
        env=person.environment,
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=subprocess.PIPE,
    )
    os.close(its)
    assert (await asyncio.to_thread(os.read, ours, 4096)).endswith(f"{NEW_ID}\t\n".encode())
    os.close(ours)
    assert process.stderr
    assert await process.stderr.read() == b""
    assert await process.wait() == 141
