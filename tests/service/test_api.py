"""org.tinyci1 on a real message bus, as busctl(1) and other clients see it."""

import asyncio
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from busclient import MANAGER, BusClient
from fakerequests import ID, JOB_PATH, FakeRequests
from objectserver import object_server, use_bus
from servers import MessageBus
from tinyci import __version__
from tinyci.api import longpoll
from tinyci.api.jobobject import path_of
from tinyci.api.jobregistry import EXPORTED
from tinyci.api.objects import ObjectServer
from tinyci.dbus.bus import Bus, BusError, Variant
from tinyci.model.fields import PROPERTIES
from tinyci.model.state import FINAL

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "created": "2026-01-02T03:04:05.000006Z"}
ALL_FIELDS = {
    **FIELDS,
    "previous": "b" * 40,
    "pusher": "lea",
    "state": "failed",
    "success": "false",
    "reason": "because",
    "output": "a\nb\n",
    "attempt": "2",
    "exit_status": "3",
    "rollback_to": ID,
    "image": "1" * 64,
    "running_image": "2" * 64,
    "unit": "tinyci-build@0d.service",
    "invocation_id": "0123",
    "user": "web",
    "started": "s",
    "finished": "f",
    "build_duration": "1.5",
    "restart_duration": "0.25",
    "verify_duration": "5",
}
SIGNATURES = {"Id": "s", **{field.property_name: field.signature for field in PROPERTIES}}


@pytest.fixture(autouse=True)
def on_test_bus(message_bus: MessageBus, monkeypatch: pytest.MonkeyPatch) -> None:
    use_bus(message_bus, monkeypatch)


@pytest_asyncio.fixture
async def tinyci(requests: FakeRequests) -> AsyncIterator[ObjectServer]:
    made = object_server(requests, "web", "chaos-micropub")
    await made.connect()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def client(message_bus: MessageBus) -> AsyncIterator[BusClient]:
    bus = await Bus.connect(message_bus.address)
    made = BusClient(bus)
    await bus.match("type='signal',path_namespace='/org/tinyci1'")
    yield made
    await bus.close()


DBUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


# -- the manager -------------------------------------------------------------------------------------------------


async def test_jobs_are_listed_oldest_first(tinyci: ObjectServer, client: BusClient) -> None:
    assert await client.call(*MANAGER, "ListJobs") == [[]]
    other = str(uuid.uuid4())
    tinyci.add(ID, FIELDS)
    tinyci.add(other, {**FIELDS, "repo": "other", "state": "building"})
    (jobs,) = await client.call(*MANAGER, "ListJobs")
    assert jobs == [
        [ID, "web", "refs/heads/main", "queued", JOB_PATH],
        [other, "other", "refs/heads/main", "building", path_of(other)],
    ]


async def test_a_job_is_found_by_its_id(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    assert await client.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH]


async def test_a_job_that_is_not_there_is_an_error_with_its_name(tinyci: ObjectServer, client: BusClient) -> None:
    with pytest.raises(BusError) as caught:
        await client.call(*MANAGER, "GetJob", "s", ID)
    assert caught.value.name == "org.tinyci1.Error.NoSuchJob"
    assert ID in str(caught.value)


async def test_the_manager_tells_version_counts_and_repos(tinyci: ObjectServer, client: BusClient) -> None:
    states = ["queued", "queued", "building", "restarting", "verifying", "failed", "succeeded"]
    for state in states:
        tinyci.add(str(uuid.uuid4()), {**FIELDS, "state": state})
    assert await client.get_all(*MANAGER) == {
        "Version": ("s", __version__),
        "Queued": ("u", 2),
        "Running": ("u", 3),
        "Paused": ("b", False),
        "Repos": ("as", ["chaos-micropub", "web"]),
    }


# -- a job -------------------------------------------------------------------------------------------------------


async def test_a_jobs_properties_are_the_fields_of_its_hash(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, ALL_FIELDS)
    properties = await client.get_all(JOB_PATH, "org.tinyci1.Job")
    assert properties.keys() == SIGNATURES.keys()
    expected = {
        "Id": ("s", ID),
        "Repo": ("s", "web"),
        "Ref": ("s", "refs/heads/main"),
        "Revision": ("s", "a" * 40),
        "Previous": ("s", "b" * 40),
        "Pusher": ("s", "lea"),
        "State": ("s", "failed"),
        "Success": ("b", False),
        "Reason": ("s", "because"),
        "Output": ("s", "a\nb\n"),
        "Attempt": ("u", 2),
        "ExitStatus": ("i", 3),
        "RollbackTo": ("s", ID),
        "Image": ("s", "1" * 64),
        "RunningImage": ("s", "2" * 64),
        "Unit": ("s", "tinyci-build@0d.service"),
        "InvocationID": ("s", "0123"),
        "User": ("s", "web"),
        "Created": ("s", FIELDS["created"]),
        "Started": ("s", "s"),
        "Finished": ("s", "f"),
        "BuildDuration": ("d", 1.5),
        "RestartDuration": ("d", 0.25),
        "VerifyDuration": ("d", 5.0),
    }
    assert properties == {**properties, **expected}


async def test_what_a_job_does_not_have_yet_is_empty(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    found = await client.get_all(JOB_PATH, "org.tinyci1.Job")
    assert found["State"] == ("s", "queued")
    assert found["Success"] == ("b", False)
    assert found["ExitStatus"] == ("i", -1)
    assert found["Output"] == ("s", "")
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "BuildDuration") == ("d", 0.0)


async def test_a_property_cannot_be_set(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError) as caught:
        await client.call(
            JOB_PATH,
            "org.freedesktop.DBus.Properties",
            "Set",
            "ssv",
            "org.tinyci1.Job",
            "State",
            Variant("s", "succeeded"),
        )
    assert caught.value.name == "org.freedesktop.DBus.Error.PropertyReadOnly"
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "queued")


# -- signals -----------------------------------------------------------------------------------------------------


async def test_a_new_job_is_told_to_all(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    assert await client.signals.get() == (*MANAGER, "JobNew", [ID, JOB_PATH])


async def test_a_change_is_told_with_the_properties_that_changed(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    await client.signals.get()
    tinyci.change(ID, {"state": "building", "attempt": "1", "restarting": "not a property"})
    path, interface, member, (of, changed, invalidated) = await client.signals.get()
    assert (path, interface, member) == (JOB_PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged")
    assert (of, invalidated) == ("org.tinyci1.Job", [])
    found = {name: (variant.signature, variant.value) for name, variant in changed.items()}
    assert found == {"State": ("s", "building"), "Attempt": ("u", 1)}
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "building")


async def test_the_end_of_a_job_is_told_after_its_last_change(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    tinyci.change(ID, {"state": "failed", "reason": "because"})
    said = [await client.signals.get() for _ in range(3)]
    assert [member for _, _, member, _ in said] == ["JobNew", "PropertiesChanged", "JobRemoved"]
    assert said[2] == (*MANAGER, "JobRemoved", [ID, JOB_PATH, "failed"])
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "failed")  # it stays for a while


async def test_a_job_of_before_is_shown_and_not_told(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, ALL_FIELDS, announce=False)
    tinyci.add(str(uuid.uuid4()), FIELDS)
    _, _, member, (told, _) = await client.signals.get()
    assert member == "JobNew"
    assert told != ID
    assert await client.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH]


async def test_a_job_that_is_known_is_not_new_again(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    tinyci.add(ID, {**FIELDS, "state": "building"})
    said = [await client.signals.get() for _ in range(2)]
    assert [member for _, _, member, _ in said] == ["JobNew", "PropertiesChanged"]


async def test_the_oldest_ended_jobs_leave_the_bus_and_no_live_one_does(
    tinyci: ObjectServer, client: BusClient
) -> None:
    live = str(uuid.uuid4())
    tinyci.add(live, FIELDS)
    ended = [str(uuid.uuid4()) for _ in range(EXPORTED + 2)]
    for job_id in ended:
        tinyci.add(job_id, {**FIELDS, "state": "failed"}, announce=False)
    (jobs,) = await client.call(*MANAGER, "ListJobs")
    assert [job[0] for job in jobs] == [live, *ended[2:]]
    with pytest.raises(BusError):
        await client.get(path_of(ended[0]), "org.tinyci1.Job", "State")


async def test_a_job_that_is_only_kept_is_there_for_who_asks(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    requests.hashes[ID] = ALL_FIELDS
    assert await client.call(*MANAGER, "ListJobs") == [[]]
    assert await client.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH]
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "Reason") == ("s", "because")
    assert await client.call(*MANAGER, "ListJobs") == [[]], "that of live and recent ones"
    for _ in range(EXPORTED):
        other = str(uuid.uuid4())
        requests.hashes[other] = ALL_FIELDS
        await client.call(*MANAGER, "GetJob", "s", other)
    with pytest.raises(BusError):
        await client.get(JOB_PATH, "org.tinyci1.Job", "State")
    assert await client.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH], "and again for who asks again"


async def test_repos_are_listed_with_what_their_files_say(tinyci: ObjectServer, client: BusClient) -> None:
    refs = ["refs/heads/main", "refs/heads/master"]
    assert await client.call(*MANAGER, "ListRepos") == [
        [[name, name, f"/srv/git/{name}.git", refs, [f"{name}.service"]] for name in ("chaos-micropub", "web")]
    ]


# -- the output ----------------------------------------------------------------------------------------------------

JOB = (JOB_PATH, "org.tinyci1.Job", "ReadOutput", "sb")


async def test_output_is_read_as_it_comes_to_its_end(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    log = requests.logs[ID] = []
    tinyci.add(ID, FIELDS)
    position, *rest = await client.call(*JOB, "", True)
    assert rest == [[], "queued"]
    heard: asyncio.Queue[tuple[list[str], str]] = asyncio.Queue()

    async def follow(position: str) -> None:
        while True:
            position, lines, state = await client.call(*JOB, position, True)
            await heard.put((lines, state))
            if not lines and state in FINAL:
                return

    following = asyncio.create_task(follow(position))
    for lines, state in (([], "building"), (["one", "two"], ""), (["three"], ""), ([], "restarting"), ([], "failed")):
        log += lines
        if lines:
            tinyci.log_grew(ID)
        else:
            tinyci.change(ID, {"state": state})
        assert await heard.get() == (lines, state or "building")
    await following


async def test_who_does_not_wait_has_an_answer_at_once(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    position, *rest = await client.call(*JOB, "", False)
    assert rest == [[], "building"]
    assert await client.call(*JOB, position, False) == [position, [], "building"]


async def test_who_waits_for_nothing_has_an_answer_in_the_end(
    tinyci: ObjectServer, client: BusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(longpoll, "PATIENCE", 0.1)
    tinyci.add(ID, {**FIELDS, "state": "building"})
    position, *_ = await client.call(*JOB, "", True)
    assert await client.call(*JOB, position, True) == [position, [], "building"]


async def test_many_read_one_job_and_none_waits_for_another(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    tinyci.add(ID, {**FIELDS, "state": "building"})
    position, *_ = await client.call(*JOB, "", False)
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(client.call(*JOB, position, True)) for _ in range(100)]
        await client.call(*JOB, position, False)  # answered, so the bus has brought the others
        requests.logs[ID] = ["news"]
        tinyci.log_grew(ID)
    assert [reader.result()[1] for reader in readers] == [["news"]] * 100


async def test_long_output_comes_in_parts(tinyci: ObjectServer, client: BusClient, requests: FakeRequests) -> None:
    log = requests.logs[ID] = ["x" * 48_000] * 20 + [str(number) for number in range(3000)]
    tinyci.add(ID, {**FIELDS, "state": "succeeded"})
    position, parts = "", []
    while not parts or parts[-1]:
        position, lines, _ = await client.call(*JOB, position, True)
        parts.append(lines)
    assert [line for part in parts for line in part] == log
    assert max(sum(map(len, part)) for part in parts) <= 300_000


async def test_output_whose_log_is_gone_is_that_of_the_hash(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, {**FIELDS, "state": "failed", "output": "a\nb\0\n"})
    position, *rest = await client.call(*JOB, "", True)
    assert rest == [["a", "b\\0"], "failed"]
    assert await client.call(*JOB, position, True) == [position, [], "failed"]


@pytest.mark.parametrize("position", ["x", "building", "1", "building -1", "building 1 ", "9" * 1000])
async def test_a_position_that_nobody_told_is_refused(tinyci: ObjectServer, client: BusClient, position: str) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError, match="position") as caught:
        await client.call(*JOB, position, True)
    assert caught.value.name == "org.freedesktop.DBus.Error.InvalidArgs"


# -- what nobody expects -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_id", ["not an id", "", "a/b", "ä", "\udcff", "a\0b", "\\xff", "x" * 100])
async def test_an_id_that_is_none_stops_nothing(tinyci: ObjectServer, client: BusClient, job_id: str) -> None:
    """Whoever may push may put anything into the queue."""
    tinyci.add(job_id, {})
    tinyci.change(job_id, {"state": "rejected"})
    tinyci.add(ID, FIELDS)
    assert await client.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH]
    (jobs,) = await client.call(*MANAGER, "ListJobs")
    assert jobs[-1][0] == ID


@pytest.mark.parametrize("field", ["repo", "ref", "state", "reason", "attempt", "exit_status", "build_duration"])
@pytest.mark.parametrize("text", ["", "a\0b", "-1", "99999999999999999999", "nan", "x" * 1000])
async def test_a_field_that_is_none_stops_nothing(
    tinyci: ObjectServer, client: BusClient, field: str, text: str
) -> None:
    tinyci.add(ID, {**FIELDS, field: text})
    tinyci.change(ID, {field: text})
    (jobs,) = await client.call(*MANAGER, "ListJobs")
    assert jobs[0][0] == ID
    assert len(await client.get_all(JOB_PATH, "org.tinyci1.Job")) == len(SIGNATURES)


# -- the connection ----------------------------------------------------------------------------------------------


async def test_a_second_tinyci_is_refused(tinyci: ObjectServer) -> None:
    with pytest.raises(BusError, match=r"org\.tinyci1 is owned by another process"):
        await object_server(FakeRequests()).connect()


async def test_after_a_restart_of_the_bus_everything_is_there_again(
    tinyci: ObjectServer, message_bus: MessageBus
) -> None:
    tinyci.add(ID, FIELDS)
    lost: list[str] = []
    keeping = asyncio.create_task(tinyci.keep_connected(lost.append))
    await asyncio.sleep(0)
    message_bus.kill()
    message_bus.start()
    bus = await Bus.connect(message_bus.address)
    try:
        again = BusClient(bus)
        await bus.match("type='signal',member='NameOwnerChanged',arg0='org.tinyci1'")
        await bus.match("type='signal',member='PropertiesChanged'")
        if not (await bus.call(*DBUS, "NameHasOwner", "s", "org.tinyci1"))[0]:
            assert (await again.signals.get())[2] == "NameOwnerChanged"
        assert await again.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "queued")
        assert await again.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH]
        tinyci.change(ID, {"state": "building"})
        assert (await again.signals.get())[2] == "PropertiesChanged"
    finally:
        keeping.cancel()
        await bus.close()
    assert lost[0] == "the connection to the system bus was lost"


# -- busctl ------------------------------------------------------------------------------------------------------


async def busctl(message_bus: MessageBus, *arguments: str) -> str:
    assert shutil.which("busctl"), "the Debian package systemd is not installed: run tests/prepare"
    process = await asyncio.create_subprocess_exec(
        "busctl",
        f"--address={message_bus.address}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_busctl_calls_and_reads_it(tinyci: ObjectServer, message_bus: MessageBus) -> None:
    tinyci.add(ID, ALL_FIELDS)
    listed = await busctl(message_bus, "call", "org.tinyci1", *MANAGER, "ListJobs")
    assert listed == f'a(sssso) 1 "{ID}" "web" "refs/heads/main" "failed" "{JOB_PATH}"\n'
    attempt = await busctl(message_bus, "get-property", "org.tinyci1", JOB_PATH, "org.tinyci1.Job", "Attempt")
    assert attempt == "u 2\n"


async def test_busctl_shows_what_the_design_names(tinyci: ObjectServer, message_bus: MessageBus) -> None:
    tinyci.add(ID, ALL_FIELDS)
    manager = await busctl(message_bus, "introspect", "org.tinyci1", *MANAGER)
    members = {tuple(line.split()[:4]) for line in manager.splitlines()}
    assert {
        (".ListJobs", "method", "-", "a(sssso)"),
        (".GetJob", "method", "s", "o"),
        (".JobNew", "signal", "so", "-"),
        (".JobRemoved", "signal", "sos", "-"),
    } <= members
    assert re.search(rf'\.Version +property +s +"{__version__}" +const$', manager, re.M)
    assert re.search(r"\.Queued +property +u +0 +-$", manager, re.M)
    assert re.search(r"\.Paused +property +b +false +emits-change$", manager, re.M)
    job = await busctl(message_bus, "introspect", "org.tinyci1", JOB_PATH, "org.tinyci1.Job")
    rows = [line.split() for line in job.splitlines() if " property " in line]
    assert {row[0]: row[2] for row in rows} == {f".{name}": signature for name, signature in SIGNATURES.items()}


async def test_busctl_sees_every_job_and_no_other_object(tinyci: ObjectServer, message_bus: MessageBus) -> None:
    ids = [str(uuid.uuid4()) for _ in range(20)]
    for job_id in ids:
        tinyci.add(job_id, FIELDS)
    tree = await busctl(message_bus, "tree", "--list", "org.tinyci1")
    assert set(tree.split()) == {"/", "/org", "/org/tinyci1", "/org/tinyci1/job", *map(path_of, ids)}


@pytest.mark.parametrize("path", ["/org/tinyci1/job/_0d313b1e", "/org/tinyci1/j", "/org/tinyci", "/tinyci1"])
async def test_part_of_the_path_of_an_object_is_no_object(tinyci: ObjectServer, client: BusClient, path: str) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError) as caught:
        await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
    assert caught.value.name == "org.freedesktop.DBus.Error.UnknownObject"


@pytest.mark.parametrize("path", ["/", "/org/tinyci1"])
async def test_not_everything_is_given_at_once(tinyci: ObjectServer, client: BusClient, path: str) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError, match="ListJobs") as caught:
        await client.call(path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    assert caught.value.name == "org.freedesktop.DBus.Error.UnknownMethod"
    (said,) = await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
    assert "ObjectManager" not in said


async def test_arguments_have_names(tinyci: ObjectServer, client: BusClient) -> None:
    (said,) = await client.call("/org/tinyci1", "org.freedesktop.DBus.Introspectable", "Introspect")
    arguments = ElementTree.fromstring(said).findall(".//arg")
    assert arguments
    assert all(argument.get("name") for argument in arguments)


async def test_changed_repos_are_told(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.repos_changed()
    _, _, member, (interface, changed, _) = await client.signals.get()
    assert (member, interface) == ("PropertiesChanged", "org.tinyci1.Manager")
    assert changed["Repos"].value == ["chaos-micropub", "web"]


async def test_what_is_written_again_as_it_was_is_no_change(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, ALL_FIELDS, announce=False)
    tinyci.change(ID, ALL_FIELDS | {"reason": "another"})
    _, _, member, (_, changed, _) = await client.signals.get()
    assert (member, list(changed)) == ("PropertiesChanged", ["Reason"])
