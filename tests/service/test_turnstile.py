"""However many questions a caller asks, others are answered, and the daemon holds few of them."""

import asyncio
import contextlib
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from busclient import MANAGER, BusClient
from dbus_next import Message, MessageFlag
from fakerequests import ID, JOB_PATH, FakeRequests
from servers import MessageBus
from tinyci.api.objects import ObjectServer
from tinyci.dbus import names, turnstile
from tinyci.dbus.bus import Bus, BusError

pytestmark = pytest.mark.asyncio

QUESTIONS = 1000
JOB = (JOB_PATH, "org.tinyci1.Job")
DESTINATION = "org.tinyci1"
LONG = {
    "GetJob": (*MANAGER, "GetJob", "s", "11111111-2222-3333-4444-555555555555"),
    "Diagnose": (*MANAGER, "Diagnose", "s", "web"),
    "ReadEvents": (*MANAGER, "ReadEvents", "sb", "", True),
    "ReadOutput": (*JOB, "ReadOutput", "sb", "building 0", True),
    "Cancel": (*MANAGER, "Cancel", "s", ID),
}
SHORT = {
    "ListJobs": (*MANAGER, "ListJobs"),
    "ListRepos": (*MANAGER, "ListRepos"),
    "GetAll": (JOB_PATH, names.PROPERTIES, "GetAll", "s", "org.tinyci1.Job"),
    "Introspect": (JOB_PATH, "org.freedesktop.DBus.Introspectable", "Introspect"),
}


class Stranger:
    """A caller who sends what he likes, and throws all answers away unread."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._loop = asyncio.get_running_loop()
        self._descriptor = bus._connection._fd
        self._loop.remove_reader(self._descriptor)
        self._loop.add_reader(self._descriptor, self._drain)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 1 << 20)

    def send(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> None:
        message = Message(
            destination=DESTINATION,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.NO_REPLY_EXPECTED,  # of those that want an answer, the bus itself lets 128 through
        )
        self.bus._connection.send(message)


@pytest_asyncio.fixture
async def stranger(message_bus: MessageBus) -> AsyncIterator[Stranger]:
    bus = await Bus.connect(message_bus.address)
    yield Stranger(bus)
    await bus.close()


@pytest.fixture
def many_jobs(tinyci: ObjectServer) -> None:
    fields = {"repo": "web", "ref": "refs/heads/main", "state": "succeeded", "output": "x" * 65536}
    for number in range(100):
        tinyci.add(f"{number:08x}-0000-0000-0000-000000000000", fields)
    tinyci.add(ID, {**fields, "state": "building"})


@pytest.mark.parametrize("question", [*LONG.values(), *SHORT.values()], ids=[*LONG, *SHORT])
async def test_questions_of_a_stranger_delay_nobody_else(
    many_jobs: None, stranger: Stranger, client: BusClient, question: tuple[str, str, str]
) -> None:
    begin = time.monotonic()
    await client.call(*MANAGER, "ListJobs")
    usual = time.monotonic() - begin
    for _ in range(QUESTIONS):
        stranger.send(*question)
    await asyncio.sleep(0)
    begin = time.monotonic()
    await client.call(*MANAGER, "ListJobs")
    assert time.monotonic() - begin < 2.0 + 5 * usual


async def test_of_a_caller_few_questions_are_open(
    many_jobs: None, tinyci: ObjectServer, stranger: Stranger, client: BusClient
) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(QUESTIONS):
        stranger.send(*LONG["ReadEvents"])
    await client.call(*MANAGER, "ListJobs")
    assert len(asyncio.all_tasks()) - before <= turnstile.OPEN_MAX + 5
    gc.collect()
    messages = sum(isinstance(each, Message) and each.member == "ReadEvents" for each in gc.get_objects())
    assert messages <= turnstile.OPEN_MAX + 5
    assert (await client.call(*MANAGER, "ReadEvents", "sb", "", False))[1:] == [False, []], "others have their own"


async def test_who_asks_too_much_is_told_so(
    many_jobs: None, requests: FakeRequests, client: BusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def wait(*_: object) -> dict[str, str]:
        await gate.wait()
        return {}

    monkeypatch.setattr(requests, "job", wait)  # Redis, which hangs
    calls = [asyncio.create_task(client.call(*LONG["GetJob"])) for _ in range(100)]
    texts: Counter[str] = Counter()
    for call in asyncio.as_completed(calls):
        with pytest.raises(BusError) as refusal:
            await call
        texts[f"{refusal.value.name}: {refusal.value}"] += 1
        if texts.total() == 100 - turnstile.WORK_MAX:
            gate.set()
    limit = (
        f"{names.LIMITS_EXCEEDED}: {turnstile.WORK_MAX} of your questions have no answer yet: ask again when one has"
    )
    missing = f"{names.NO_SUCH_JOB}: no job that is kept has the id '{LONG['GetJob'][-1]}'"
    assert texts == {limit: 100 - turnstile.WORK_MAX, missing: turnstile.WORK_MAX}


async def test_the_connections_of_a_user_have_a_limit_together(
    many_jobs: None, tinyci: ObjectServer, message_bus: MessageBus, client: BusClient
) -> None:
    strangers = [Stranger(await Bus.connect(message_bus.address)) for _ in range(QUESTIONS // 50)]
    before = len(asyncio.all_tasks())
    for each in strangers:
        for _ in range(50):
            each.send(*LONG["ReadEvents"])
    for _ in range(20):
        await client.call(*MANAGER, "ListJobs")
    assert turnstile.USER_WAITING_MAX - 1 <= len(asyncio.all_tasks()) - before <= turnstile.USER_WAITING_MAX + 5
    with pytest.raises(BusError, match=f"^{turnstile.USER_WAITING_MAX} questions of your user have no answer yet"):
        await client.call(*MANAGER, "ReadEvents", "sb", "", False)
    tinyci.event_added()  # which answers them
    for each in strangers:
        await each.bus.close()
