"""The manager and the jobs of org.tinyci1 on a real message bus, as clients see them."""

import asyncio
import uuid

import pytest
from busclient import MANAGER, BusClient
from fakerequests import ID, JOB_PATH, FakeRequests
from objectserver import object_server
from servers import MessageBus
from tinyci import __version__
from tinyci.api.jobobject import path_of
from tinyci.api.jobregistry import EXPORTED, LISTED
from tinyci.api.objects import ObjectServer
from tinyci.dbus.bus import Bus, BusError, Variant
from tinyci.model.fields import PROPERTIES

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
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
    with pytest.raises(BusError) as failure:
        await client.call(*MANAGER, "GetJob", "s", ID)
    assert failure.value.name == "org.tinyci1.Error.NoSuchJob"
    assert ID in str(failure.value)


async def test_a_job_that_was_just_pushed_is_awaited(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    requests.new_ids.add(ID)
    answers = [asyncio.create_task(client.call(*MANAGER, "GetJob", "s", ID)) for _ in range(2)]
    await client.call(*MANAGER, "ListJobs")  # answered after those were read
    tinyci.add(ID, FIELDS)
    assert await asyncio.gather(*answers) == [[JOB_PATH], [JOB_PATH]]


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
    properties = await client.get_all(JOB_PATH, "org.tinyci1.Job")
    assert properties["State"] == ("s", "queued")
    assert properties["Success"] == ("b", False)
    assert properties["ExitStatus"] == ("i", -1)
    assert properties["Output"] == ("s", "")
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "BuildDuration") == ("d", 0.0)


async def test_a_property_cannot_be_set(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError) as failure:
        await client.call(
            JOB_PATH,
            "org.freedesktop.DBus.Properties",
            "Set",
            "ssv",
            "org.tinyci1.Job",
            "State",
            Variant("s", "succeeded"),
        )
    assert failure.value.name == "org.freedesktop.DBus.Error.PropertyReadOnly"
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "queued")


# -- signals -----------------------------------------------------------------------------------------------------


async def test_a_new_job_is_told_to_all(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    assert await client.signals.get() == (*MANAGER, "JobNew", [ID, JOB_PATH])


async def test_a_change_is_told_with_the_properties_that_changed(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    await client.signals.get()
    tinyci.change(ID, {"state": "building", "attempt": "1", "restarting": "not a property"})
    path, interface, member, (about, variants, others) = await client.signals.get()
    assert (path, interface, member) == (JOB_PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged")
    assert (about, others) == ("org.tinyci1.Job", [])
    values = {name: (variant.signature, variant.value) for name, variant in variants.items()}
    assert values == {"State": ("s", "building"), "Attempt": ("u", 1)}
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "building")


async def test_the_end_of_a_job_is_told_after_its_last_change(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    tinyci.change(ID, {"state": "failed", "reason": "because"})
    signals = [await client.signals.get() for _ in range(3)]
    assert [member for _, _, member, _ in signals] == ["JobNew", "PropertiesChanged", "JobRemoved"]
    assert signals[2] == (*MANAGER, "JobRemoved", [ID, JOB_PATH, "failed"])
    assert await client.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "failed")  # it stays for a while


async def test_a_job_of_before_is_shown_and_not_told(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, ALL_FIELDS, announce=False)
    tinyci.add(str(uuid.uuid4()), FIELDS)
    _, _, member, (job_id, _) = await client.signals.get()
    assert member == "JobNew"
    assert job_id != ID
    assert await client.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH]


async def test_a_job_that_is_known_is_not_new_again(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, FIELDS)
    tinyci.add(ID, {**FIELDS, "state": "building"})
    signals = [await client.signals.get() for _ in range(2)]
    assert [member for _, _, member, _ in signals] == ["JobNew", "PropertiesChanged"]


async def test_the_oldest_ended_jobs_leave_the_bus_and_no_live_one_does(
    tinyci: ObjectServer, client: BusClient
) -> None:
    live = str(uuid.uuid4())
    tinyci.add(live, FIELDS)
    ids = [str(uuid.uuid4()) for _ in range(EXPORTED + 2)]
    for job_id in ids:
        tinyci.add(job_id, {**FIELDS, "state": "failed"}, announce=False)
    (jobs,) = await client.call(*MANAGER, "ListJobs")
    assert [job[0] for job in jobs] == [live, *ids[2:]]
    with pytest.raises(BusError):
        await client.get(path_of(ids[0]), "org.tinyci1.Job", "State")


async def test_the_newest_job_of_each_repo_stays_on_the_bus(tinyci: ObjectServer, client: BusClient) -> None:
    """A repo's name means its newest job, however busy the other repos are."""
    newest, gone = str(uuid.uuid4()), str(uuid.uuid4())
    tinyci.add(newest, {**FIELDS, "repo": "web", "state": "failed"}, announce=False)
    tinyci.add(gone, {**FIELDS, "repo": "gone", "state": "failed"}, announce=False)
    for _ in range(EXPORTED + 5):
        tinyci.add(str(uuid.uuid4()), {**FIELDS, "repo": "busy", "state": "failed"}, announce=False)
    (jobs,) = await client.call(*MANAGER, "ListJobs")
    assert jobs[0][0] == newest
    assert gone not in [job[0] for job in jobs], "no repo is called so"


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


async def test_of_very_many_jobs_that_wait_the_newest_are_listed_and_each_is_there_for_who_asks(
    tinyci: ObjectServer, client: BusClient, requests: FakeRequests
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(LISTED + 2)]
    for job_id in ids:
        tinyci.add(job_id, FIELDS)
        assert (await client.signals.get())[2:] == ("JobNew", [job_id, path_of(job_id)])
    ((*rows,),) = await client.call(*MANAGER, "ListJobs")
    assert [row[0] for row in rows] == ids[2:]
    assert await client.get(*MANAGER, "Queued") == ("u", len(ids))
    requests.hashes |= {job_id: {**FIELDS, "state": "queued"} for job_id in ids[:2]}
    assert await client.call(*MANAGER, "GetJob", "s", ids[0]) == [path_of(ids[0])]
    assert [tinyci.lacks_fields(job_id) for job_id in ids[:3]] == [True, True, False]
    tinyci.change(ids[0], {"state": "building"})
    tinyci.add(ids[0], {**FIELDS, "state": "building"})
    assert await client.get(path_of(ids[0]), "org.tinyci1.Job", "Repo") == ("s", "web")
    assert await client.get(path_of(ids[0]), "org.tinyci1.Job", "State") == ("s", "building")
    tinyci.add(ids[1], {**FIELDS, "state": "superseded"})
    assert not tinyci.lacks_fields(ids[1])
    assert await client.get(*MANAGER, "Queued") == ("u", LISTED)
    members = [(await client.signals.get())[2] for _ in range(3)]
    assert members == ["PropertiesChanged", "PropertiesChanged", "JobRemoved"]


async def test_repos_are_listed_with_what_their_files_say(tinyci: ObjectServer, client: BusClient) -> None:
    refs = ["refs/heads/main", "refs/heads/master"]
    assert await client.call(*MANAGER, "ListRepos") == [
        [[name, name, f"/srv/git/{name}.git", refs, [f"{name}.service"]] for name in ("chaos-micropub", "web")]
    ]


async def test_changed_repos_are_told(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.repos_changed()
    _, _, member, (interface, values, _) = await client.signals.get()
    assert (member, interface) == ("PropertiesChanged", "org.tinyci1.Manager")
    assert values["Repos"].value == ["chaos-micropub", "web"]


async def test_what_is_written_again_as_it_was_is_no_change(tinyci: ObjectServer, client: BusClient) -> None:
    tinyci.add(ID, ALL_FIELDS, announce=False)
    tinyci.change(ID, ALL_FIELDS | {"reason": "another"})
    _, _, member, (_, values, _) = await client.signals.get()
    assert (member, list(values)) == ("PropertiesChanged", ["Reason"])


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
    errors: list[str] = []
    connection = asyncio.create_task(tinyci.keep_connected(errors.append))
    await asyncio.sleep(0)
    message_bus.kill()
    message_bus.start()
    bus = await Bus.connect(message_bus.address)
    try:
        client = BusClient(bus)
        await bus.match("type='signal',member='NameOwnerChanged',arg0='org.tinyci1'")
        await bus.match("type='signal',member='PropertiesChanged'")
        if not (await bus.call(*BUS, "NameHasOwner", "s", "org.tinyci1"))[0]:
            assert (await client.signals.get())[2] == "NameOwnerChanged"
        assert await client.get(JOB_PATH, "org.tinyci1.Job", "State") == ("s", "queued")
        assert await client.call(*MANAGER, "GetJob", "s", ID) == [JOB_PATH]
        tinyci.change(ID, {"state": "building"})
        assert (await client.signals.get())[2] == "PropertiesChanged"
    finally:
        connection.cancel()
        await bus.close()
    assert errors[0] == "the connection to the system bus was lost"
