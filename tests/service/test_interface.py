"""org.tinyci1 agrees with its interface files and its manual page, and keeps secrets from its callers."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from busclient import MANAGER, BusClient
from fakepolkit import FakePolkit
from fakerequests import ID, JOB_PATH, FakeRequests
from objectserver import serving
from servers import TREE, MessageBus
from tinyci.api.jobobject import path_of
from tinyci.api.objects import ObjectServer
from tinyci.dbus import names
from tinyci.dbus.bus import Bus, BusError, Variant
from tinyci.dbus.interface import EMITS_CHANGED
from tinyci.model.fields import PROPERTIES

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40}
JOB = (JOB_PATH, "org.tinyci1.Job")
FILES = sorted((TREE / "units" / "dbus-1" / "interfaces").glob("*.xml"))
PAGE = (TREE / "daemon" / "man" / "org.tinyci1.5.md").read_text(encoding="utf-8")
SECRET = "secret of /var/lib/tinyci/x.py"


@pytest_asyncio.fixture
async def tinyci(system_bus: MessageBus, requests: FakeRequests) -> AsyncIterator[ObjectServer]:
    async with serving(requests, "web") as server:
        server.add(ID, {**FIELDS, "state": "succeeded"})
        yield server


@pytest_asyncio.fixture
async def client(message_bus: MessageBus, tinyci: ObjectServer) -> AsyncIterator[BusClient]:
    bus = await Bus.connect(message_bus.address)
    yield BusClient(bus)
    await bus.close()


async def described(client: BusClient, path: str, interface: str) -> ElementTree.Element:
    (xml,) = await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
    (element,) = ElementTree.fromstring(xml).findall(f"interface[@name='{interface}']")
    return element


# -- what is written of it ---------------------------------------------------------------------------------------


def canonical(element: ElementTree.Element) -> list[str]:
    text: str = ElementTree.canonicalize(ElementTree.tostring(element), strip_text=True)
    return text.replace("><", ">\n<").splitlines()


def test_each_interface_has_a_file() -> None:
    assert [path.stem for path in FILES] == ["org.tinyci1.Job", "org.tinyci1.Manager"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_file_is_what_the_daemon_says(client: BusClient, path: Path) -> None:
    """Members, signatures, names of arguments, access, and which changes are told."""
    place = {"org.tinyci1.Job": JOB_PATH, "org.tinyci1.Manager": "/org/tinyci1"}[path.stem]
    (file,) = ElementTree.parse(path).getroot().findall("interface")
    assert canonical(file) == canonical(await described(client, place, path.stem))


def argument(element: ElementTree.Element, *, is_signal: bool) -> str:
    direction = "" if is_signal else f"{element.get('direction')} "
    return f"{direction}{element.get('type')} *{element.get('name')}*"


@pytest.mark.parametrize("place", [MANAGER, JOB], ids=["Manager", "Job"])
async def test_the_manual_page_has_every_member_and_no_other(client: BusClient, place: tuple[str, str]) -> None:
    manager, _, job = PAGE.partition("\n# A JOB\n")
    section = manager if place is MANAGER else job.partition("\n# ERRORS\n")[0]
    entries = re.findall(r"^(\*\*[A-Z].*)\n:   ", section, re.M)
    members = []
    for member in await described(client, *place):
        name = f"**{member.get('name')}**"
        if member.tag == "property":
            members.append(f"{name} {member.get('type')}")
        else:
            members.append(f"{name}({', '.join(argument(each, is_signal=member.tag == 'signal') for each in member)})")
    assert sorted(entries) == sorted(members)


def page_properties() -> dict[str, tuple[str, str]]:
    """Type and description of each property of a job, as the manual page has them."""
    _, _, section = PAGE.partition("\n# A JOB\n")[2].partition("\n## Properties\n")
    entries = re.findall(r"^\*\*(\w+)\*\* (\w+)\n:   (.+?)\n\n", section.partition("# ERRORS\n")[0], re.M | re.S)
    return {name: (signature, " ".join(text.split())) for name, signature, text in entries}


def test_the_manual_page_describes_the_properties_as_the_list_of_fields_does() -> None:
    descriptions = page_properties()
    expected = {
        field.property_name: (field.signature, field.sentence + (" *Constant*." if field.is_constant else ""))
        for field in PROPERTIES
    }
    assert descriptions == {"Id": ("s", "Id of the job, a UUID. *Constant*."), **expected}


async def test_the_manual_page_says_what_is_constant(client: BusClient) -> None:
    constants = {name for name, (_, text) in page_properties().items() if text.endswith("*Constant*.")}
    properties = (await described(client, *JOB)).findall("property")
    emits = {each.get("name"): each.find(f"annotation[@name='{EMITS_CHANGED}']") for each in properties}
    assert constants == {name for name, each in emits.items() if each is not None and each.get("value") == "const"}


def test_the_manual_page_has_every_error() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("api", "daemon")
        for path in (TREE / "daemon" / "tinyci" / room).glob("*.py")
    )
    ours = re.findall(r'RequestError\(\s*"(\w+)"', code) + re.findall(r"\.Error\.([A-Z]\w+)", code)
    ours += [name.rpartition(".")[2] for name in map(str, vars(names).values()) if name.startswith(f"{names.ERROR}.")]
    freedesktop = {"AccessDenied", "InteractiveAuthorizationRequired", "InvalidArgs", "LimitsExceeded"}
    entries = re.findall(r"^\*\*org\.(?:tinyci1|freedesktop\.DBus)\.Error\.(\w+)\*\*$", PAGE, re.M)
    # Every D-Bus service answers with these, and systemd's are what we hear and do not say.
    foreign = {"Failed", "UnknownMethod", "UnknownObject", "UnknownInterface", "NoReply", "Disconnected"}
    assert set(entries) == (set(ours) | freedesktop) - foreign


# -- what callers may not know -----------------------------------------------------------------------------------

LEAK = re.compile(r"Traceback|File \"|\bline \d|\.py\b|site-packages|dbus_next|/usr/|/opt/|/var/|/tmp/|object at 0x")
STRINGS = [
    *("", "x" * 1_000_000, "\n", "\\", "%s%n{}", "../../etc/passwd", "/", "é€😀", "\x7f\x1b[31m", "-1", "' OR 1=1 --"),
    *("web", "refs/heads/main", "refs/heads/" + "x" * 300, ID, ID.upper(), f"{ID}\n", ID.replace("-", ""), "queued 0"),
    *(str(uuid.UUID(int=0)), "succeeded 999999999999999", "queued 9999999999999999999999999", "queued ٣"),
]
STRANGE: list[tuple[str, Any]] = [
    ("i", -(2**31)),
    ("as", []),
    ("as", ["x"] * 10_000),
    ("v", Variant("v", Variant("a{sv}", {"x": Variant("(iv)", [1, Variant("s", "")])}))),
    ("a{sv}", {}),
    ("o", "/"),
    ("d", float("nan")),
    ("ay", b"\0" * 1000),
    ("(s)", [ID]),
]


async def refusal(client: BusClient, path: str, interface: str, member: str, signature: str, *body: Any) -> str:
    """The error's name, or nothing when there is none; its text may not tell what it must not."""
    try:
        await client.bus.call("org.tinyci1", path, interface, member, signature, *body)
    except BusError as error:
        assert not LEAK.search(str(error)), str(error)
        assert 0 < len(str(error)) <= 1000
        return error.name
    return ""


EXPECTED = re.compile(
    r"|org\.tinyci1\.Error\.\w+"
    r"|org\.freedesktop\.DBus\.Error\.(InvalidArgs|UnknownMethod|UnknownObject|UnknownInterface|UnknownProperty"
    r"|PropertyReadOnly|NotSupported|InvalidSignature)"
)


@pytest.mark.parametrize("place", [MANAGER, JOB], ids=["Manager", "Job"])
async def test_strange_arguments_are_refused_in_a_sentence(
    polkit: FakePolkit, client: BusClient, caplog: pytest.LogCaptureFixture, place: tuple[str, str]
) -> None:
    methods = (await described(client, *place)).findall("method")
    for method in methods:
        name = str(method.get("name"))
        signature = "".join(str(each.get("type")) for each in method.findall("arg[@direction='in']"))
        pools = [STRINGS if kind == "s" else [False] for kind in signature]
        for body in product(*pools) if len(pools) < 2 else zip(*map(cycled, pools), strict=True):
            error = await refusal(client, *place, name, signature, *body)
            assert EXPECTED.fullmatch(error), (name, error)
        for kind, value in STRANGE:
            error = await refusal(client, *place, name, kind, value)
            assert error == "org.freedesktop.DBus.Error.UnknownMethod", (name, kind, error)
    assert not caplog.records, "nothing is a defect of ours"
    assert all(len(details["repo"]) <= 64 for _, details, _ in polkit.questions)
    assert len((await client.call(*MANAGER, "ListJobs"))[0]) == 1


def cycled(pool: list[Any]) -> list[Any]:
    """Pools of unlike lengths side by side."""
    return [pool[number % len(pool)] for number in range(2 * len(STRINGS))]


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body"),
    [
        ("/", "org.tinyci1.Manager", "ListJobs", "", []),
        ("/org/tinyci1/job", "org.tinyci1.Job", "Cancel", "", []),
        (path_of(str(uuid.UUID(int=0))), "org.tinyci1.Job", "Cancel", "", []),
        ("/org/tinyci1/job/_" + "x" * 10_000, "org.freedesktop.DBus.Introspectable", "Introspect", "", []),
        ("/org/tinyci1", "org.tinyci1.Manager", "x" * 255, "", []),
        ("/org/tinyci1", "org.tinyci1.Job", "Cancel", "", []),
        ("/org/tinyci1", "org.freedesktop.DBus.Properties", "Get", "ss", ["x" * 1_000_000, "Version"]),
        ("/org/tinyci1", "org.freedesktop.DBus.Properties", "Get", "ss", ["org.tinyci1.Manager", "x" * 1_000_000]),
        ("/org/tinyci1", "org.freedesktop.DBus.Properties", "Get", "ss", ["org.tinyci1.Manager", "_jobs"]),
        ("/org/tinyci1", "org.freedesktop.DBus.Properties", "GetAll", "s", [""]),
        ("/org/tinyci1", "org.freedesktop.DBus.Properties", "GetAll", "i", [7]),
        ("/org/tinyci1", "org.freedesktop.DBus.Properties", "Nonsense", "", []),
        (JOB_PATH, "org.freedesktop.DBus.Properties", "Set", "ssv", ["org.tinyci1.Job", "State", Variant("i", 1)]),
    ],
)
async def test_what_is_not_there_is_refused_in_a_sentence(
    client: BusClient, path: str, interface: str, member: str, signature: str, body: list[Any]
) -> None:
    error = await refusal(client, path, interface, member, signature, *body)
    assert error
    assert EXPECTED.fullmatch(error), error


@pytest.mark.parametrize("member", [("Retry", "s", ID), ("Rollback", "s", "web"), ("Run", "ss", "web", ""), ("Pause",)])
async def test_of_a_defect_callers_learn_only_that_it_is_one(
    polkit: FakePolkit,
    client: BusClient,
    requests: FakeRequests,
    monkeypatch: pytest.MonkeyPatch,
    member: tuple[Any, ...],
) -> None:
    def broken(*_: str) -> None:
        raise OSError(SECRET)

    monkeypatch.setattr(requests, "note", broken)
    with pytest.raises(BusError) as failure:
        await client.call(*MANAGER, *member)
    assert str(failure.value) == "an internal error, see the journal of tinyci.service"


# -- a bus that stands still -------------------------------------------------------------------------------------


async def test_three_thousand_messages_for_a_bus_that_stands_still_cost_nothing(
    tinyci: ObjectServer, client: BusClient, message_bus: MessageBus
) -> None:
    await client.bus.match("type='signal',path_namespace='/org/tinyci1'")
    ids = [str(uuid.uuid4()) for _ in range(1000)]
    message_bus.pause()
    for job_id in ids:
        tinyci.add(job_id, FIELDS)
        tinyci.change(job_id, {"state": "rejected", "reason": "because"})
    for _ in range(100):  # turns of the loop, in which the socket's buffer fills up
        await asyncio.sleep(0)
    message_bus.resume()
    signals = [await client.signals.get() for _ in range(3000)]
    assert [member for _, _, member, _ in signals] == ["JobNew", "PropertiesChanged", "JobRemoved"] * 1000
    assert [arguments[0] for _, _, member, arguments in signals if member == "JobRemoved"] == ids
    assert await client.call(*MANAGER, "GetJob", "s", ids[-1]) == [path_of(ids[-1])]
