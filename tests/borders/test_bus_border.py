"""Whatever is at the other end of a bus, each call returns what it may or raises the one error of its border; the
connection to others, the end of a job, and the decision of polkit are not changed by it."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import BYTES, TEXT, border, mutations
from dbus_next import Message
from dbus_next.signature import Variant
from hypothesis import strategies as st
from peer import BODIES, BUS, NAME, OWNER, PATHS, STRINGS, Peer, bodies_of, reply, variants
from tinyci.api.polkit import Authority
from tinyci.dbus import bus as bus_module
from tinyci.dbus import names
from tinyci.dbus.bus import Bus, BusError, BusGoneError, ReplyError
from tinyci.dbus.names import Action
from tinyci.model.repo import is_unit_name
from tinyci.model.stagecontract import Status, Verdict
from tinyci.systemd import manager as manager_module
from tinyci.systemd import unit as unit_module
from tinyci.systemd.manager import Manager, ManagerError, ManagerGoneError
from tinyci.systemd.stageunit import failure_reason, verdict_sentence
from tinyci.systemd.unit import Unit

ROOT = "/org/freedesktop/systemd1"
JOB, UNIT = f"{ROOT}/job/77", f"{ROOT}/unit/web_2eservice"
SYSTEMD = "org.freedesktop.systemd1"
LONGEST = 3000


class Host:
    """A loop, and a connection in it that is made anew when it was lost."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.runner = asyncio.Runner()
        self._bus: Bus | None = None
        self._manager: Manager | None = None

    async def bus(self) -> Bus:
        if self._bus is None or not self._bus.connected:
            if self._bus:
                await self._bus.close()
            self._bus = await Bus.connect(self.peer.address, 0)
        return self._bus

    async def manager(self) -> Manager:
        if self._manager is None or not self._manager.connected:
            if self._manager:
                await self._manager.close()
            before, self.peer.answer = self.peer.answer, lambda call: [Message.new_method_return(call)]
            self._manager = await Manager.on_bus(await Bus.connect(self.peer.address, 0, unit_module.PROPERTIES))
            self.peer.answer = before
        return self._manager

    async def lose(self) -> None:
        for each in (self._bus, self._manager):
            if each:
                await each.close()
        self._bus = self._manager = None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    peer = Peer(tmp_path / "bus")
    host = Host(peer)
    yield host
    host.runner.run(host.lose())
    host.runner.close()
    peer.close()


def serious(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.levelno >= logging.ERROR]


HELLO = bytes(Message.new_signal(ROOT, f"{SYSTEMD}.Manager", "X", "sv", ["x", Variant("as", ["y"])])._marshall())
GARBAGE = st.one_of(BYTES, mutations(HELLO), st.binary(min_size=16, max_size=80).map(lambda data: b"l" + data))


@border(st.lists(GARBAGE, min_size=1, max_size=3), few=30)
def test_bytes_that_are_no_message_end_no_more_than_their_connection(
    host: Host, caplog: pytest.LogCaptureFixture, data: list[bytes]
) -> None:
    async def ask() -> None:
        bus = await host.bus()
        host.peer.answer = lambda call: [*data, Message.new_method_return(call, "s", ["x"])]
        try:
            assert await bus.call("a.b", "/", "a.b", "C", timeout=0.05) == ["x"]
        except BusGoneError as error:
            assert len(str(error)) < LONGEST
        except BusError as error:  # the mutated bytes were an error's
            assert len(str(error)) <= 1000
        await host.lose()
        host.peer.answer = lambda call: [Message.new_method_return(call, "s", ["y"])]
        assert await (await host.bus()).call("a.b", "/", "a.b", "C", timeout=10) == ["y"]

    caplog.clear()
    host.runner.run(ask())
    assert not serious(caplog.records)


@border(STRINGS, STRINGS, BODIES, few=60)
def test_an_error_is_an_error_with_a_short_text(
    host: Host, name: str, text: str, content: tuple[str, list[Any]]
) -> None:
    error_name = "".join(each for each in name if each.isascii() and each.isalpha())[:200]
    for signature, body in (("s", [text]), content):

        def answer(call: Message, signature: str = signature, body: list[Any] = body) -> list[Message | bytes]:
            error = Message.new_error(call, f"a.{error_name or 'B'}", "")
            error.signature, error.signature_tree = (
                signature,
                Message(path="/", member="x", interface="a.b", signature=signature, body=body).signature_tree,
            )
            error.body = body
            return [error]

        async def ask() -> None:
            with pytest.raises(BusError) as error:
                await (await host.bus()).call("a.b", "/", "a.b", "C", timeout=10)
            assert error.value.name == f"a.{error_name or 'B'}"[:1000] and len(str(error.value)) <= 1000

        host.peer.answer = answer
        host.runner.run(ask())


# -- the manager -------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    [
        *("LoadState", "ActiveState", "SubState", "Job", "InvocationID", "Result", "ExecMainCode", "ExecMainStatus"),
        *("NRestarts", "StatusText", "RequiredBy", "BoundBy", "ConsistsOf", "InactiveExitTimestamp", "Id", "x"),
    ]
)
PROPERTIES = st.dictionaries(KEYS | STRINGS, variants(), max_size=8).map(lambda values: ("a{sv}", [values]))
STATUS = st.tuples(st.sampled_from([*Verdict, "x"]) | STRINGS, STRINGS).map(lambda each: f"{each[0]}: {each[1]}")
NEARLY = st.fixed_dictionaries(
    {
        "LoadState": STRINGS.map(lambda text: Variant("s", text)),
        "ActiveState": STRINGS.map(lambda text: Variant("s", text)),
        "Result": STRINGS.map(lambda text: Variant("s", text)),
        "StatusText": STATUS.map(lambda text: Variant("s", text)),
        "RequiredBy": st.lists(STRINGS | st.just("a.service"), max_size=3).map(lambda each: Variant("as", each)),
        "InvocationID": st.binary(min_size=15, max_size=16).map(lambda data: Variant("ay", data)),
        "Job": st.tuples(st.integers(0, 9), PATHS).map(lambda each: Variant("(uo)", list(each))),
        "InactiveExitTimestamp": st.integers(0, 2**64 - 1).map(lambda number: Variant("t", number)),
    }
).map(lambda values: ("a{sv}", [values]))
REPLIES = st.fixed_dictionaries(
    {
        "LoadUnit": st.just(("o", [UNIT])) | PATHS.map(lambda path: ("o", [path])) | BODIES,
        "GetAll": NEARLY | PROPERTIES | BODIES,
        "Get": st.just(("v", [Variant("s", "running")])) | variants().map(lambda each: ("v", [each])) | BODIES,
    }
)
QUESTIONS = ("unit", "start", "restart", "stop", "reset_failed")


@border(REPLIES, BODIES, few=60)
def test_a_unit_is_as_the_model_says_or_its_managers_error(
    host: Host,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    replies: dict[str, Any],
    other: tuple[str, list[Any]],
) -> None:
    monkeypatch.setattr(manager_module, "_LOOK_AGAIN", 0.02)

    async def ask() -> None:
        manager = await host.manager()
        host.peer.answer = lambda call: [reply(call, replies.get(call.member, other))]
        for question in QUESTIONS:
            try:
                async with asyncio.timeout(0.2 if question in ("restart", "stop") else 20):
                    answer = await getattr(manager, question)("web.service")
            except (ManagerError, ManagerGoneError) as error:
                assert len(str(error)) < LONGEST
                continue
            except TimeoutError:  # it says that its job goes on; who asks has a limit for that
                continue
            if isinstance(answer, Unit):
                check(answer)
            elif question == "start":
                assert answer.startswith("/") and answer.isascii() and len(answer) <= 1000
            elif answer is not None:
                assert isinstance(answer, str) and len(answer) <= 1000
        assert manager.connected and not manager._waiters

    caplog.clear()
    host.runner.run(ask())
    assert not serious(caplog.records)


def check(unit: Unit) -> None:
    assert unit.name == "web.service" and unit.path.startswith("/") and unit.job.startswith("/")
    assert len(unit.invocation_id) in (0, 32) and set(unit.invocation_id) <= set("0123456789abcdef")
    texts = (unit.load_state, unit.active_state, unit.sub_state, unit.result, unit.status_text)
    assert all(isinstance(text, str) and len(text) <= 1000 for text in texts)
    assert all(is_unit_name(name) for name in unit.dependents) and len(unit.dependents) <= 3000
    assert -(2**31) <= unit.exit_status < 2**31 and 0 <= unit.restarts < 2**32 and 0 <= unit.start_time < 2**64
    reason = failure_reason(unit)
    assert (reason == "") == (unit.active_state == "active") or unit.status_text.endswith(": ")
    assert len(reason) < LONGEST
    verdicts = [verdict for verdict in Verdict if verdict_sentence(unit, verdict)]
    assert len(verdicts) <= 1, "one Status says two things"


@border(TEXT, TEXT, few=100)
def test_a_status_is_one_line_that_a_manager_takes_and_reads_back(verdict: str, sentence: str) -> None:
    line = str(Status(verdict, sentence))
    assert len(line.encode()) <= 3000 and "\n" not in line
    status = Status.parse(line)
    if ": " not in verdict and "\n" not in verdict + sentence and len(line) < 700:
        assert status == (verdict.encode("utf-8", "replace").decode(), sentence.encode("utf-8", "replace").decode())


def signal(sender: str, member: str, content: tuple[str, list[Any]], interface: str = f"{SYSTEMD}.Manager") -> Message:
    message = Message.new_signal(ROOT, interface, member, *content)
    message.sender, message.destination = sender, NAME
    return message


RESULTS = st.sampled_from(["done", "failed", "canceled", "timeout"]) | STRINGS
REMOVALS = RESULTS.map(lambda result: ("uoss", [77, JOB, "web.service", result]))
OTHERS = st.sampled_from([":1.8", ":1.70", ":9.7", "org.freedesktop.systemd1", "org.tinyci1"])
OWNER_CHANGES = st.one_of(
    st.sampled_from([SYSTEMD, "org.tinyci1"]).map(lambda name: ("sss", [name, OWNER, ":1.8"])), bodies_of("sss"), BODIES
)


def owner_change(sender: str, content: tuple[str, list[Any]]) -> Message:
    message = Message.new_signal("/org/freedesktop/DBus", BUS, "NameOwnerChanged", *content)
    message.sender, message.destination = sender, NAME
    return message


LIES = st.one_of(
    st.tuples(OTHERS, REMOVALS | BODIES).map(lambda each: signal(each[0], "JobRemoved", each[1])),
    st.tuples(OTHERS, OWNER_CHANGES).map(lambda each: owner_change(*each)),
    st.tuples(OTHERS, BODIES).map(lambda each: signal(each[0], "PropertiesChanged", each[1], names.PROPERTIES)),
)
NOISE = st.one_of(
    st.tuples(bodies_of("uoss") | BODIES)
    .filter(lambda each: JOB not in each[0][1])
    .map(lambda each: signal(OWNER, "JobRemoved", each[0])),
    BODIES.map(lambda content: signal(OWNER, "PropertiesChanged", content, names.PROPERTIES)),
    BODIES.map(lambda content: signal(OWNER, "UnitNew", content)),
)


@border(st.lists(LIES | NOISE, max_size=6), st.lists(LIES | NOISE, max_size=6), REMOVALS, few=60)
def test_the_end_of_a_job_is_what_its_manager_said_first_and_well(
    host: Host,
    caplog: pytest.LogCaptureFixture,
    before: list[Message],
    after: list[Message],
    second: tuple[str, list[Any]],
) -> None:
    truth = signal(OWNER, "JobRemoved", ("uoss", [77, JOB, "web.service", "done"]))

    def answer(call: Message) -> list[Message | bytes]:
        if call.member != "RestartUnit":
            return [reply(call, ("v", [Variant("s", "running")]) if call.member == "Get" else ("", []))]
        return [*before, reply(call, ("o", [JOB])), truth, *after]

    async def ask() -> None:
        manager = await host.manager()
        manager._results.clear()
        host.peer.answer = answer
        assert await asyncio.wait_for(manager.restart("web.service"), 5) == "done"
        host.peer.answer = lambda call: [reply(call, ("", [])), *after]
        await manager.reset_failed("web.service")  # all that was said before is dispatched when this is answered
        assert len(manager._results) <= manager_module._RESULTS_MAX
        assert not manager._waiters and not manager._watches

    caplog.clear()
    host.runner.run(ask())
    assert not serious(caplog.records)


# -- polkit ------------------------------------------------------------------------------------------------------------

DECISIONS = st.one_of(
    st.tuples(st.booleans(), st.booleans()).map(lambda each: ("(bba{ss})", [[*each, {}]])),
    bodies_of("(bba{ss})"),
    st.sampled_from(["(sba{ss})", "(bb)", "(uua{ss})", "bba{ss}", "(bba{ss})b", "(vva{ss})", "a{sv}", "ab"]).flatmap(
        bodies_of
    ),
    BODIES,
)


@border(DECISIONS, st.sampled_from(Action), st.sampled_from(["", "web"]) | TEXT, few=100)
def test_nothing_but_a_yes_of_polkit_is_a_yes(
    host: Host, caplog: pytest.LogCaptureFixture, decision: tuple[str, list[Any]], action: Action, repo: str
) -> None:
    signature, body = decision
    is_yes = signature == "(bba{ss})" and body[0][0] is True

    async def ask() -> None:
        authority = Authority()
        authority.bus = await host.bus()
        bus_module._current.set(Message(path="/", interface="a.b", member="C", sender=":1.9"))
        host.peer.answer = lambda call: [reply(call, decision)]
        try:
            assert await authority.authorize(action, repo) == "root"
            assert is_yes and (not repo or repo.isascii())
        except ReplyError as error:
            assert not is_yes or error.type == names.NO_SUCH_REPO
            assert error.type in (names.ACCESS_DENIED, names.AUTHORIZATION_REQUIRED, names.NO_SUCH_REPO)
            assert error.type != names.AUTHORIZATION_REQUIRED or body[0][1] is True

    caplog.clear()
    host.runner.run(ask())
    assert not serious(caplog.records)
