"""Whoever asks org.tinyci1 without end: the daemon has time for its deploys meanwhile."""

import asyncio
import statistics
import time
import uuid

from hostileuser import wire
from servers import MessageBus
from tinyci.api.objects import ObjectServer

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
