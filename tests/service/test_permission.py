"""polkit decides about each change: the requests that it allows are carried out, all others refused by name.

polkit is played by an object on the test's bus with polkit's own name, path and interface.
"""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from busclient import MANAGER, BusClient
from fakepolkit import FakePolkit
from fakerequests import ID, JOB_PATH, NEW_ID, NEW_PATH, FakeRequests
from objectserver import serving
from servers import MessageBus
from tinyci.api.objects import ObjectServer
from tinyci.api.requests import RequestError
from tinyci.dbus.bus import Bus, BusError

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}
ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest_asyncio.fixture
async def tinyci(system_bus: MessageBus, requests: FakeRequests) -> AsyncIterator[ObjectServer]:
    async with serving(requests, "web") as server:
        server.add(ID, FIELDS)
        yield server


@pytest_asyncio.fixture
async def client(message_bus: MessageBus, tinyci: ObjectServer) -> AsyncIterator[BusClient]:
    bus = await Bus.connect(message_bus.address)
    yield BusClient(bus)
    await bus.close()


async def refusal(client: BusClient, *request: Any) -> str:
    with pytest.raises(BusError) as failure:
        await client.call(*MANAGER, *request)
    assert str(failure.value)
    return failure.value.name


REQUESTS = [
    pytest.param(("Cancel", "s", ID), "cancel", "web", ("cancel", ID), [], id="Cancel"),
    pytest.param(("Retry", "s", ID), "retry", "web", ("retry", ID, ME), [NEW_PATH], id="Retry"),
    pytest.param(("Run", "ss", "web", ""), "run", "web", ("deploy", "web", "", ME), [NEW_PATH], id="Run"),
    pytest.param(("Rollback", "s", "web"), "rollback", "web", ("rollback", "web", "", ME), [NEW_PATH], id="Rollback"),
    pytest.param(("RollbackTo", "s", ID), "rollback", "web", ("rollback", "web", ID, ME), [NEW_PATH], id="RollbackTo"),
    pytest.param(("Pause",), "pause", "", ("pause", True), [], id="Pause"),
    pytest.param(("Resume",), "pause", "", ("pause", False), [], id="Resume"),
]


@pytest.mark.parametrize(("request_", "action", "repo", "done", "answer"), REQUESTS)
async def test_what_polkit_allows_is_carried_out(
    polkit: FakePolkit,
    client: BusClient,
    requests: FakeRequests,
    request_: Any,
    action: str,
    repo: str,
    done: Any,
    answer: Any,
) -> None:
    assert await client.call(*MANAGER, *request_) == answer
    assert requests.calls == [done]
    assert polkit.questions == [(f"org.tinyci1.{action}", {"repo": repo}, 0)]
    ((kind, subject),) = polkit.subjects
    assert kind == "system-bus-name"
    assert subject["name"].startswith(":1.")


@pytest.mark.parametrize(("request_", "action", "repo", "done", "answer"), REQUESTS)
@pytest.mark.parametrize(
    ("verdict", "error"),
    [((False, False), "AccessDenied"), ((False, True), "InteractiveAuthorizationRequired")],
)
async def test_what_polkit_does_not_allow_is_not_carried_out(
    polkit: FakePolkit,
    client: BusClient,
    requests: FakeRequests,
    verdict: tuple[bool, bool],
    error: str,
    request_: Any,
    action: str,
    repo: str,
    done: Any,
    answer: Any,
) -> None:
    polkit.verdict = verdict
    assert await refusal(client, *request_) == f"org.freedesktop.DBus.Error.{error}"
    assert requests.calls == []


async def test_without_polkit_nothing_is_carried_out(client: BusClient, requests: FakeRequests) -> None:
    assert await refusal(client, "Cancel", "s", ID) == "org.freedesktop.DBus.Error.AccessDenied"
    assert requests.calls == []


async def test_nothing_is_carried_out_before_polkit_has_answered(
    polkit: FakePolkit, client: BusClient, requests: FakeRequests
) -> None:
    polkit.may_answer.clear()
    asking = asyncio.create_task(client.call(*MANAGER, "Cancel", "s", ID))
    await polkit.has_question.wait()
    assert requests.calls == []
    polkit.may_answer.set()
    await asking
    assert requests.calls == [("cancel", ID)]


@pytest.mark.parametrize("member", ["Cancel", "Retry"])
async def test_a_job_that_is_not_there_is_told_before_polkit_is_asked(
    polkit: FakePolkit, client: BusClient, member: str
) -> None:
    assert await refusal(client, member, "s", NEW_ID) == "org.tinyci1.Error.NoSuchJob"
    assert polkit.questions == []


async def test_a_request_that_cannot_be_carried_out_is_told_by_its_name(
    polkit: FakePolkit, client: BusClient, requests: FakeRequests
) -> None:
    requests.refusal = RequestError("AlreadyFinished", "it has ended")
    assert await refusal(client, "Cancel", "s", ID) == "org.tinyci1.Error.AlreadyFinished"


async def test_a_pause_is_seen_by_all(polkit: FakePolkit, client: BusClient) -> None:
    await client.bus.match("type='signal',path='/org/tinyci1'")
    await client.call(*MANAGER, "Pause")
    _, _, member, (interface, values, _) = await client.signals.get()
    assert (member, interface, values["Paused"].value) == ("PropertiesChanged", "org.tinyci1.Manager", True)
    assert await client.get(*MANAGER, "Paused") == ("b", True)


async def test_reading_asks_nobody(polkit: FakePolkit, client: BusClient) -> None:
    polkit.verdict = (False, False)
    await client.call(*MANAGER, "ListJobs")
    await client.get(JOB_PATH, "org.tinyci1.Job", "State")
    assert polkit.questions == []


async def test_who_repeats_a_rollback_must_be_allowed_to_roll_back(
    polkit: FakePolkit, client: BusClient, tinyci: ObjectServer
) -> None:
    tinyci.change(ID, {"rollback_to": NEW_ID})
    await client.call(*MANAGER, "Retry", "s", ID)
    assert polkit.questions == [("org.tinyci1.rollback", {"repo": "web"}, 0)]
