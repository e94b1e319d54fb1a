"""Job.ReadOutput: lines of a job's log as they come, to any number of callers."""

import asyncio

import pytest
from busclient import BusClient
from fakerequests import ID, JOB_PATH, FakeRequests
from tinyci.api import longpoll
from tinyci.api.objects import ObjectServer
from tinyci.dbus.bus import BusError
from tinyci.model.state import FINAL

FIELDS = {"repo": "web", "ref": "refs/heads/main"}
READ = (JOB_PATH, "org.tinyci1.Job", "ReadOutput", "sb")


async def test_output_is_read_as_it_comes_to_its_end(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    log = requests.logs[ID] = []
    tinyci.add(ID, FIELDS)
    position, *rest = await client.call(*READ, "", True)
    assert rest == [[], "queued"]
    answers: asyncio.Queue[tuple[list[str], str]] = asyncio.Queue()

    async def follow(position: str) -> None:
        while True:
            position, lines, state = await client.call(*READ, position, True)
            await answers.put((lines, state))
            if not lines and state in FINAL:
                return

    reader = asyncio.create_task(follow(position))
    for lines, state in (([], "building"), (["one", "two"], ""), (["three"], ""), ([], "restarting"), ([], "failed")):
        log += lines
        if lines:
            tinyci.log_grew(ID)
        else:
            tinyci.change(ID, {"state": state})
        assert await answers.get() == (lines, state or "building")
    await reader


async def test_who_does_not_wait_has_an_answer_at_once(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    position, *rest = await client.call(*READ, "", False)
    assert rest == [[], "building"]
    assert await client.call(*READ, position, False) == [position, [], "building"]


async def test_who_waits_for_nothing_has_an_answer_in_the_end(
    tinyci: ObjectServer, client: BusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(longpoll, "PATIENCE", 0.1)
    tinyci.add(ID, {**FIELDS, "state": "building"})
    position, *_ = await client.call(*READ, "", True)
    assert await client.call(*READ, position, True) == [position, [], "building"]


async def test_many_read_one_job_and_none_waits_for_another(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    position, *_ = await client.call(*READ, "", False)
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(client.call(*READ, position, True)) for _ in range(100)]
        await client.call(*READ, position, False)  # answered, so the bus has brought the others
        requests.logs[ID] = ["news"]
        tinyci.log_grew(ID)
    assert [reader.result()[1] for reader in readers] == [["news"]] * 100


async def test_long_output_comes_in_parts(tinyci: ObjectServer, client: BusClient, requests: FakeRequests) -> None:
    log = requests.logs[ID] = ["x" * 48_000] * 20 + [str(number) for number in range(3000)]
    tinyci.add(ID, {**FIELDS, "state": "succeeded"})
    position, parts = "", []
    while not parts or parts[-1]:
        position, lines, _ = await client.call(*READ, position, True)
        parts.append(lines)
    assert [line for part in parts for line in part] == log
    assert max(sum(map(len, part)) for part in parts) <= 300_000


async def test_output_whose_log_is_gone_is_that_of_the_hash(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, {**FIELDS, "state": "failed", "output": "a\nb\0\n"})
    position, *rest = await client.call(*READ, "", True)
    assert rest == [["a", "b\\0"], "failed"]
    assert await client.call(*READ, position, True) == [position, [], "failed"]


@pytest.mark.parametrize("position", ["x", "building", "1", "building -1", "building 1 ", "9" * 1000])
async def test_a_position_that_nobody_told_is_refused(tinyci: ObjectServer, client: BusClient, position: str) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError, match="position") as failure:
        await client.call(*READ, position, True)
    assert failure.value.name == "org.freedesktop.DBus.Error.InvalidArgs"
