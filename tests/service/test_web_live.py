"""Followers of jobs by server-sent events: one reader of Redis for all of a job, and nobody holds up another."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from servers import LIMIT, Redis
from tinyci.store.viewer import StoreViewer
from tinyci.web import followers
from tinyci.web.followers import Followers
from webserver import EventStream, JobWriter, WebServer, running

COUNT = 500


@pytest.fixture
def job_id(jobs: JobWriter) -> str:
    """A job that builds, with three lines of output."""
    job_id = jobs.add(str(uuid.uuid4()), time.time(), state="building")
    jobs.log(job_id, "one", "\x1b[32mtwo\x1b[0m", "three")
    return job_id


async def test_a_job_is_followed_from_its_output_to_its_end(web: WebServer, jobs: JobWriter, job_id: str) -> None:
    stream = await EventStream.open(web, f"/jobs/{job_id}/events")
    assert b"\r\nContent-Type: text/event-stream; charset=utf-8\r\n" in stream.headers
    assert b"\r\nX-Accel-Buffering: no\r\n" in stream.headers
    assert await stream.next_data("lines") == [[1, [["", "one"]]], [2, [["f2", "two"]]], [3, [["", "three"]]]]
    state = await stream.next_data("state")
    assert (state["state"], state["final"], state["facts"]["repo"]) == ("building", False, "web")
    jobs.log(job_id, "four", first=4)
    assert await stream.next_lines(1) == [(4, "four")]
    jobs.change(job_id, state="restarting", build_duration="1.5")
    state = await stream.next_data("state")
    assert (state["state"], state["stages"][1]["took"]) == ("restarting", "1.5 s")
    jobs.log(job_id, "last", first=5)
    jobs.change(job_id, state="succeeded", success="true")
    rest = [event async for event in stream.events()]
    assert [name for name, _ in rest] == ["lines", "state", "end"]
    assert rest[0][1] == [[5, [["", "last"]]]]
    assert rest[1][1]["final"]


async def test_who_comes_again_goes_on_after_the_last_line_that_he_has(
    web: WebServer, jobs: JobWriter, job_id: str
) -> None:
    stream = await EventStream.open(web, f"/jobs/{job_id}/events")
    await stream.next_lines(3)
    assert stream.last_id == "3"
    stream.close()
    jobs.log(job_id, "four", "five", first=4)
    stream = await EventStream.open(web, f"/jobs/{job_id}/events?after=1", last_id=stream.last_id)
    assert await stream.next_lines(2) == [(4, "four"), (5, "five")]
    other = await EventStream.open(web, f"/jobs/{job_id}/events?after=2")
    assert await other.next_lines(3) == [(3, "three"), (4, "four"), (5, "five")]
    jobs.log(job_id, "six", first=6)
    assert await stream.next_lines(1) == await other.next_lines(1) == [(6, "six")]
    for each in (stream, other):
        each.close()


async def test_a_job_that_has_ended_is_told_at_once(web: WebServer, jobs: JobWriter, job_id: str) -> None:
    jobs.change(job_id, state="failed", reason="no")
    stream = await EventStream.open(web, f"/jobs/{job_id}/events?after=3")
    assert [name async for name, _ in stream.events()] == ["state", "end"]


async def test_a_job_that_is_only_queued_is_followed_without_any_event(
    web: WebServer, jobs: JobWriter, redis: Redis
) -> None:
    """The daemon may be down: nothing is written but what the hook wrote, and later the state."""
    job_id = jobs.add(str(uuid.uuid4()), time.time())
    stream = await EventStream.open(web, f"/jobs/{job_id}/events")
    assert (await stream.next_data("state"))["state"] == "queued"
    redis.data.hset(f"tinyci:job:{job_id}", "state", "building")
    assert (await stream.next_data("state"))["state"] == "building"
    stream.close()


async def test_a_push_that_the_daemon_has_not_taken_yet_is_followed(web: WebServer, redis: Redis) -> None:
    job_id = str(uuid.uuid4())
    fields = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}
    redis.data.hset(f"tinyci:new:{job_id}", mapping=fields)
    redis.data.lpush("tinyci:queue", job_id)
    stream = await EventStream.open(web, f"/jobs/{job_id}/events")
    assert (await stream.next_data("state"))["state"] == "queued"
    redis.data.hset(f"tinyci:job:{job_id}", mapping={**fields, "state": "building"})
    redis.data.delete(f"tinyci:new:{job_id}")
    assert (await stream.next_data("state"))["state"] == "building"
    stream.close()


async def test_a_job_that_is_forgotten_ends_its_streams(web: WebServer, redis: Redis, job_id: str) -> None:
    stream = await EventStream.open(web, f"/jobs/{job_id}/events")
    await stream.next_data("state")
    redis.data.delete(f"tinyci:job:{job_id}", f"tinyci:log:{job_id}")
    assert (await stream.next_data("state"))["state"] == "unknown"
    assert await stream.next_event() == ("end", "")


async def test_the_list_hears_of_jobs_that_come_and_change(web: WebServer, jobs: JobWriter) -> None:
    stream = await EventStream.open(web, "/events")
    assert await stream.next_data("changed") == {"total": 0, "within": 10}
    job_id = jobs.add(str(uuid.uuid4()), time.time())
    assert (await stream.next_data("changed"))["total"] == 1, "the hook tells nobody"
    jobs.change(job_id, state="building")
    await stream.next_data("changed")
    stream.close()


async def test_there_is_nothing_to_follow_of_a_job_that_is_none(web: WebServer, redis: Redis) -> None:
    stream = await EventStream.open(web, f"/jobs/{uuid.uuid4()}/events")
    assert stream.status == 404
    stream = await EventStream.open(web, f"/jobs/{uuid.uuid4()}/events?after=x")
    assert stream.status == 400


def readers(redis: Redis) -> int:
    """The number of connections that wait for news."""
    return sum(client["cmd"] == "xread" for client in redis.data.client_list())


async def test_500_followers_are_one_reader_and_hear_all(
    web: WebServer, jobs: JobWriter, redis: Redis, job_id: str
) -> None:
    assert (await asyncio.to_thread(web.get, "/")).status == 200
    before = web.memory()
    while readers(redis):  # noqa: ASYNC110 - of the tests before; Redis tells nobody
        await asyncio.sleep(0.01)
    streams = await asyncio.gather(*(EventStream.open(web, f"/jobs/{job_id}/events") for _ in range(COUNT)))
    await asyncio.gather(*(stream.next_lines(3) for stream in streams))
    assert readers(redis) == 1
    delays: list[float] = []

    async def receive(stream: EventStream, begin: float) -> None:
        await stream.next_lines(10)
        delays.append(time.monotonic() - begin)

    for turn in range(5):
        begin = time.monotonic()
        jobs.log(job_id, *(f"line {number}" for number in range(10)), first=4 + 10 * turn)
        await asyncio.gather(*(receive(stream, begin) for stream in streams))
    begin = time.monotonic()
    answer = await asyncio.to_thread(web.get, f"/jobs/{job_id}")
    page = time.monotonic() - begin
    assert answer.status == 200
    delays.sort()
    print(f"{COUNT} followers: a line after {delays[len(delays) // 2] * 1000:.0f} ms (median), ", end="")
    print(f"{delays[-1] * 1000:.0f} ms (last); a page in {page * 1000:.0f} ms; ", end="")
    print(f"resident {before:.0f} -> {web.memory():.0f} MiB")
    # And 500 more, which is all that may.
    streams += await asyncio.gather(*(EventStream.open(web, "/events") for _ in range(COUNT)))
    excess_stream = await EventStream.open(web, "/events")
    assert (excess_stream.status, b"\r\nRetry-After: 30\r\n" in excess_stream.headers) == (503, True)
    print(f"{2 * COUNT} followers: resident {web.memory():.0f} MiB")
    figures = (await asyncio.to_thread(web.get, "/metrics")).text.splitlines()
    assert {"tinyci_web_followers 1000.0", "tinyci_web_readers 2.0"} <= set(figures)
    jobs.change(job_id, state="succeeded")
    await asyncio.gather(*(stream.next_data("end") for stream in streams[:COUNT]))
    assert web.memory() < 200
    for stream in streams:
        stream.close()


async def test_who_reads_nothing_holds_neither_memory_nor_others_up(
    web: WebServer, jobs: JobWriter, job_id: str
) -> None:
    """Followers that take nothing, beside one that takes all of 20 MB."""
    connections = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", web.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connections.append(connection)
    stream = await EventStream.open(web, f"/jobs/{job_id}/events?after=3")
    before = web.memory()
    number, text = 4, "x" * 2000
    for _ in range(20):
        await asyncio.to_thread(jobs.log, job_id, *[text] * 500, first=number)
        number += 500
        lines = await stream.next_lines(500)
        assert lines[-1][0] == number - 1
    print(f"20 MB past 20 followers that read nothing: resident {before:.0f} -> {web.memory():.0f} MiB")
    assert web.memory() < before + 60
    assert web.get("/healthz").status == 200
    stream.close()
    for connection in connections:
        connection.close()


async def test_a_slow_reader_gets_every_line_in_the_end(web: WebServer, jobs: JobWriter, job_id: str) -> None:
    stream = await EventStream.open(web, f"/jobs/{job_id}/events", limit=1 << 16)
    await stream.next_lines(3)
    count = 4000  # of which most are not kept here any more when he comes to them
    jobs.log(job_id, *("x" * 500 + str(number) for number in range(4, 4 + count)), first=4)
    other = await EventStream.open(web, f"/jobs/{job_id}/events?after={count}")
    assert [number for number, _ in await other.next_lines(3)] == [count + 1, count + 2, count + 3]
    assert [number for number, _ in await stream.next_lines(count)] == list(range(4, 4 + count))
    for each in (stream, other):
        each.close()


@pytest_asyncio.fixture
async def local_followers(redis: Redis) -> AsyncIterator[Followers]:
    """Followers in this process, where a test can shorten the times."""
    viewer, stop = StoreViewer(redis.socket, "web", "secret-web"), asyncio.Event()
    local_followers = Followers(viewer)
    async with asyncio.TaskGroup() as group:
        group.create_task(local_followers.run(stop))
        await asyncio.sleep(0)
        yield local_followers
        stop.set()
    await viewer.close()


async def test_who_takes_nothing_is_cut_off_and_others_are_not(
    local_followers: Followers, jobs: JobWriter, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "PATIENCE", 0.2)
    texts: list[bytes] = []

    async def hang(_: bytes) -> None:
        await asyncio.Event().wait()

    async def take(data: bytes) -> None:
        texts.append(data)

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        other = group.create_task(local_followers.follow(job_id, 0, take))
        with pytest.raises(TimeoutError):
            await local_followers.follow(job_id, 0, hang)
        assert local_followers.count == 1
        jobs.change(job_id, state="succeeded")
        await other
    assert texts[-1].startswith(b"event: end")
    assert local_followers.reader_count == 0


async def test_something_is_said_even_when_nothing_happens(
    local_followers: Followers, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "HEARTBEAT", 0.1)
    beat = asyncio.Event()

    async def take(data: bytes) -> None:
        if data.startswith(b":"):
            beat.set()

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        task = group.create_task(local_followers.follow(job_id, 0, take))
        await beat.wait()
        task.cancel()
    assert local_followers.count == 0


# -- stopping -------------------------------------------------------------------------------------------------------


async def test_a_stop_ends_all_streams_at_once(redis: Redis, jobs: JobWriter, job_id: str, tmp_path: Path) -> None:
    with running(tmp_path, redis) as web:
        streams = [await EventStream.open(web, path) for path in ("/events", f"/jobs/{job_id}/events")]
        await streams[0].next_data("changed")
        await streams[1].next_data("state")
        begin = time.monotonic()
        web.terminate()
        for stream in streams:
            assert await stream.next_event() is None
        status, stderr = await asyncio.to_thread(web.wait)
        took = time.monotonic() - begin
        assert (status, stderr) == (0, "")
        assert took < 2.0


async def test_it_exits_when_nobody_asks_and_not_before(
    redis: Redis, jobs: JobWriter, job_id: str, tmp_path: Path
) -> None:
    with running(tmp_path, redis, "--idle-exit", "0.5") as web:
        stream = await EventStream.open(web, f"/jobs/{job_id}/events")
        await stream.next_data("state")
        await asyncio.sleep(1.5)  # three times what it waits for
        jobs.log(job_id, "still here", first=4)
        assert await stream.next_lines(1) == [(4, "still here")]
        jobs.change(job_id, state="succeeded")
        await stream.next_data("end")
        status, stderr = await asyncio.to_thread(web.wait)
        assert status == 0
        assert "the next one starts tinyci-web again" in stderr
        web.start()
        assert web.get("/healthz").status == 200


# -- Redis away -----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_web(own_redis: Redis, tmp_path: Path) -> Iterator[WebServer]:
    with running(tmp_path, own_redis) as web:
        yield web


PATHS = ("/", "/repos", "/jobs/a1", "/healthz", "/api/jobs", "/repos/web/badge.svg", f"/jobs/{uuid.UUID(int=1)}")


def test_without_redis_pages_say_so_and_come_back_by_themselves(own_web: WebServer, own_redis: Redis) -> None:
    job_id = JobWriter(own_redis).add(str(uuid.uuid4()), time.time(), state="succeeded")
    assert own_web.get("/").status == 200
    own_redis.kill()
    for path in (*PATHS, f"/jobs/{job_id}", f"/jobs/{job_id}/events", f"/jobs/{job_id}/output.txt"):
        begin = time.monotonic()
        answer = own_web.get(path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5"), path
        assert "Redis does not answer" in answer.text
        assert time.monotonic() - begin < 1.0
    assert own_web.get("/api/jobs").json["error"].startswith("Redis does not answer")
    metrics = own_web.get("/metrics")
    assert (metrics.status, "tinyci_redis_up 0.0" in metrics.text) == (200, True)
    own_redis.start()
    for path in ("/", f"/jobs/{job_id}", "/healthz"):
        assert own_web.get(path).status == 200


def test_a_redis_that_hangs_is_not_waited_for(own_web: WebServer, own_redis: Redis) -> None:
    assert own_web.get("/").status == 200
    own_redis.pause()
    begin = time.monotonic()
    assert own_web.get("/").status == 503
    assert time.monotonic() - begin < 4.0
    own_redis.resume()
    own_web.get_until("/", 200)


def test_it_starts_without_redis(own_redis: Redis, tmp_path: Path) -> None:
    own_redis.kill()
    with running(tmp_path, own_redis) as web:
        assert web.get("/").status == 503
        own_redis.start()
        assert web.get("/").status == 200


async def test_followers_are_told_of_an_outage_and_go_on_after_it(own_web: WebServer, own_redis: Redis) -> None:
    jobs = JobWriter(own_redis)
    job_id = jobs.add(str(uuid.uuid4()), time.time(), state="building")
    jobs.log(job_id, "one")
    streams = [await EventStream.open(own_web, path) for path in (f"/jobs/{job_id}/events", "/events")]
    await streams[0].next_data("state")
    await streams[1].next_data("changed")
    await asyncio.to_thread(own_redis.kill)
    for stream in streams:
        assert (await stream.next_data("trouble")).startswith("Redis does not answer")
    await asyncio.to_thread(own_redis.start)
    for stream in streams:
        assert await stream.next_data("trouble") == ""
    jobs.log(job_id, "two", first=2)
    assert await streams[0].next_lines(1) == [(2, "two")]
    jobs.change(job_id, state="failed")
    assert (await streams[0].next_data("state"))["state"] == "failed"
    await streams[0].next_data("end")
    streams[1].close()
