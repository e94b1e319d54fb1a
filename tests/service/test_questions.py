"""Whoever asks org.tinyci1 without end: the daemon has time for its deploys meanwhile."""

import asyncio
import statistics
import time
import uuid
from contextlib import suppress

from fakerequests import FakeRequests
from hostileuser import wire
from objectserver import repo_of
from servers import MessageBus, Redis
from tinyci.api.objects import ObjectServer
from tinyci.store.writer import StoreWriter

QUESTIONS, AT_ONCE = 1500, 120
FIELDS = {"repo": "web", "ref": "refs/heads/main", "state": "failed"}


def ask_all(path: str) -> int:
    """Ask all questions, always as many at once as a bus allows, and return the number of answers."""
    connection = wire.connect(path)
    call = {"path": "/org/tinyci1", "interface": "org.tinyci1.Manager", "member": "ListJobs"}
    calls = [wire.message(wire.CALL, serial, destination="org.tinyci1", **call) for serial in range(2, QUESTIONS + 2)]
    connection.sendall(b"".join(calls[:AT_ONCE]))
    count = 0
    for message in wire.messages(connection):
        count += message.kind == wire.RETURN
        if count == QUESTIONS + 1:  # with the answer to Hello
            break
        connection.sendall(b"".join(calls[count + AT_ONCE - 1 : count + AT_ONCE]))
    connection.close()
    return count - 1


async def test_many_questions_leave_the_loop_to_others(tinyci: ObjectServer, system_bus: MessageBus) -> None:
    for _ in range(50):
        tinyci.add(str(uuid.uuid4()), FIELDS)
    turns = []
    begin, used = time.monotonic(), time.thread_time()
    questions = asyncio.create_task(asyncio.to_thread(ask_all, system_bus.path))
    while not questions.done():
        before = time.thread_time()
        await asyncio.wait({questions}, timeout=0.001)
        turns.append(time.thread_time() - before)
    took, used = time.monotonic() - begin, time.thread_time() - used
    assert questions.result() == QUESTIONS
    assert statistics.median(each for each in turns if each > 0.001) < 0.02, "seconds without time for others"
    assert used < took / 2, "seconds of the processor that the answers took"


def ask_for_events(path: str, seconds: float) -> int:
    """Ask for all events again and again, always as many times at once as the bus allows; return the number of
    answers."""
    connection = wire.connect(path)
    body = wire.strings("0-0") + bytes(-len(wire.strings("0-0")) % 4) + bytes(4)
    about = {"path": "/org/tinyci1", "interface": "org.tinyci1.Manager", "member": "ReadEvents"}
    serial, count, end = 1, 0, time.monotonic() + seconds
    connection.settimeout(seconds)
    with suppress(TimeoutError):
        for message in wire.messages(connection):
            count += message.kind == wire.RETURN
            if time.monotonic() > end:
                break
            while serial < count + AT_ONCE:
                serial += 1
                connection.sendall(
                    wire.message(wire.CALL, serial, destination="org.tinyci1", signature="sb", body=body, **about)
                )
    connection.close()
    return count - 1


async def test_what_redis_is_asked_for_a_caller_is_on_his_account(system_bus: MessageBus, redis: Redis) -> None:
    store = StoreWriter(redis.socket, "daemon", "secret-daemon")
    for number in range(500):
        await store.update(f"{number}", {"state": "queued"})
    requests = FakeRequests()
    requests.repos = {"web": repo_of("web")}
    server = ObjectServer(requests, store)
    await server.connect()
    begin, used = time.monotonic(), time.thread_time()
    count = await asyncio.to_thread(ask_for_events, system_bus.path, 3)
    took, used = time.monotonic() - begin, time.thread_time() - used
    await server.close()
    await store.close()
    assert count > 10
    assert used < 0.5 + took / 6, "seconds of the processor: a burst and its remission, and a tenth"
