"""org.tinyci1 as busctl(1) shows it, and as it describes itself to whoever introspects it."""

import asyncio
import re
import shutil
import uuid
from xml.etree import ElementTree

import pytest
from busclient import MANAGER, BusClient
from fakerequests import ID, JOB_PATH
from servers import MessageBus
from tinyci import __version__
from tinyci.api.jobobject import path_of
from tinyci.api.objects import ObjectServer
from tinyci.dbus.bus import BusError
from tinyci.model.fields import PROPERTIES

FIELDS = {"repo": "web", "ref": "refs/heads/main", "state": "failed", "attempt": "2"}


async def busctl(message_bus: MessageBus, *arguments: str) -> str:
    assert shutil.which("busctl"), "the Debian package systemd is not installed: run tests/prepare"
    process = await asyncio.create_subprocess_exec(
        "busctl",
        f"--address={message_bus.address}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_busctl_calls_and_reads_it(tinyci: ObjectServer, message_bus: MessageBus) -> None:
    tinyci.add(ID, FIELDS)
    jobs = await busctl(message_bus, "call", "org.tinyci1", *MANAGER, "ListJobs")
    assert jobs == f'a(sssso) 1 "{ID}" "web" "refs/heads/main" "failed" "{JOB_PATH}"\n'
    attempt = await busctl(message_bus, "get-property", "org.tinyci1", JOB_PATH, "org.tinyci1.Job", "Attempt")
    assert attempt == "u 2\n"


async def test_busctl_shows_what_the_design_names(tinyci: ObjectServer, message_bus: MessageBus) -> None:
    tinyci.add(ID, FIELDS)
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
    signatures = {"Id": "s", **{field.property_name: field.signature for field in PROPERTIES}}
    rows = [line.split() for line in job.splitlines() if " property " in line]
    assert {row[0]: row[2] for row in rows} == {f".{name}": signature for name, signature in signatures.items()}


async def test_busctl_sees_every_job_and_no_other_object(tinyci: ObjectServer, message_bus: MessageBus) -> None:
    ids = [str(uuid.uuid4()) for _ in range(20)]
    for job_id in ids:
        tinyci.add(job_id, FIELDS)
    tree = await busctl(message_bus, "tree", "--list", "org.tinyci1")
    assert set(tree.split()) == {"/", "/org", "/org/tinyci1", "/org/tinyci1/job", *map(path_of, ids)}


@pytest.mark.parametrize("path", ["/org/tinyci1/job/_0d313b1e", "/org/tinyci1/j", "/org/tinyci", "/tinyci1"])
async def test_part_of_the_path_of_an_object_is_no_object(tinyci: ObjectServer, client: BusClient, path: str) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError) as failure:
        await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
    assert failure.value.name == "org.freedesktop.DBus.Error.UnknownObject"


@pytest.mark.parametrize("path", ["/", "/org/tinyci1"])
async def test_not_everything_is_given_at_once(tinyci: ObjectServer, client: BusClient, path: str) -> None:
    tinyci.add(ID, FIELDS)
    with pytest.raises(BusError, match="ListJobs") as failure:
        await client.call(path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    assert failure.value.name == "org.freedesktop.DBus.Error.UnknownMethod"
    (xml,) = await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
    assert "ObjectManager" not in xml


async def test_arguments_have_names(tinyci: ObjectServer, client: BusClient) -> None:
    (xml,) = await client.call("/org/tinyci1", "org.freedesktop.DBus.Introspectable", "Introspect")
    arguments = ElementTree.fromstring(xml).findall(".//arg")
    assert arguments
    assert all(argument.get("name") for argument in arguments)
