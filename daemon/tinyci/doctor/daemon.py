"""The daemon: up, on the bus, not paused, and its own checks."""

from collections.abc import Sequence
from typing import Any

from tinyci.dbus import names
from tinyci.dbus.bus import BusError, BusGoneError
from tinyci.dbus.names import MANAGER, NAME, PATH
from tinyci.doctor import files, service
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.problems import Problem, check_of
from tinyci.doctor.service import judge_enabled
from tinyci.doctor.system import PATIENCE, System

UNIT = "tinyci.service"
_RESTART = f"systemctl restart {UNIT}"

# The daemon tells a check and a sentence: problems of its checks, by the beginning of the sentence.
SENTENCES = {
    Problem.DAEMON_REDIS_SILENT: "",
    Problem.DAEMON_JOURNAL_UNREADABLE: "",
    Problem.DAEMON_POLKIT_SILENT: "",
    Problem.DAEMON_SPOOL_CLOSED: "",
    Problem.DAEMON_CONFIGURATION_INVALID: "the daemon goes by an earlier configuration",
    Problem.DAEMON_CONFIGURATION_CHANGED: "the files in /etc/tinyci have changed",
    Problem.DAEMON_CONFIGURATION_REPO_INVALID: "the repo's file is wrong",
    Problem.DAEMON_MANAGER_UNREACHABLE: "",
    Problem.DAEMON_UNIT_UNUSABLE: "",
}
# Mends of those checks. Without one: checks whose causes have checks of their own.
_MENDS = {
    "daemon-redis": _RESTART,
    "daemon-journal": f"gpasswd --add tinyci systemd-journal && {_RESTART}",
    "daemon-polkit": "systemctl restart polkit.service",
    "daemon-spool": f"systemd-tmpfiles --create {files.TMPFILES} && {_RESTART}",
    "daemon-configuration": f"systemctl reload {UNIT}",
}


def judge_system_bus(error: str) -> Finding:
    """`error`: of the connection, empty when there was none."""
    if error:
        text = f"the system bus cannot be reached ({error}): neither the daemon nor polkit can be asked for anything"
        # logind does not come back to a bus that it has lost, and no session begins without it.
        start = "systemctl start dbus.socket dbus.service && systemctl restart systemd-logind.service"
        return wrong(Problem.SYSTEM_BUS_UNREACHABLE, text, start)
    return ok("system-bus", "the system bus can be reached")


def judge_bus(error: str, text: str) -> Finding:
    """`error`: name of the error that the daemon's properties were answered with, empty when there was none."""
    if not error:
        return ok("bus", f"the daemon answers as {NAME}")
    if error.endswith("AccessDenied"):
        what = "the system bus lets nobody talk to the daemon: its policy is missing or not loaded"
        return wrong(Problem.BUS_DENIED, what, files.restore(files.POLICY))
    if error.endswith("ServiceUnknown"):
        what = f"the daemon is up, and does not own {NAME} on the system bus"
        return wrong(Problem.BUS_NOT_OWNED, what, files.restore(files.POLICY, then=_RESTART) or _RESTART)
    return wrong(Problem.BUS_SILENT, f"the daemon does not answer on the system bus: {text}", _RESTART)


def judge_paused(*, is_paused: bool) -> Finding:
    if is_paused:
        text = "the queue is paused: pushes wait, and none is deployed"
        return wrong(Problem.QUEUE_PAUSED, text, f"busctl call {NAME} {PATH} {MANAGER} Resume")
    return ok("queue", "the queue is not paused")


def judge_rows(rows: Sequence[tuple[str, bool, str]]) -> list[Finding]:
    """`rows`: of Manager.Diagnose(): name of the check, whether it holds, a sentence."""
    return [ok(check, sentence) if holds else _wrong(check, sentence) for check, holds, sentence in rows]


def _wrong(check: str, sentence: str) -> Finding:
    """The finding on a check of the daemon's own that does not hold."""
    mend = _MENDS.get(check, "")
    for problem, beginning in SENTENCES.items():
        if check_of(problem) == check and sentence.startswith(beginning):
            return wrong(problem, sentence, mend)
    # The daemon that runs is of another version.
    return Finding(check, Verdict.WRONG, sentence, mend, f"{check}/other")


async def look_at_bus(system: System) -> list[Finding]:
    try:
        await system.ask(*names.BUS, "GetId")
    except (BusError, BusGoneError) as error:
        return [judge_system_bus(str(error))]
    return [judge_system_bus("")]


async def look(system: System) -> list[Finding]:
    install = files.restore(f"{files.UNITS}/{UNIT}", then=f"systemctl enable --now {UNIT}")
    up, unit = await service.look(system, "daemon", UNIT, "pushes wait, and none is deployed", install)
    findings = [up, judge_enabled("daemon", UNIT, unit, "after the next boot nothing would be deployed")]
    if up.verdict != "ok":
        names = ("bus", "queue", *_MENDS)
        return findings + [unchecked(name, "the daemon is not up") for name in names]
    try:
        is_paused = await _get(system, "Paused")
    except BusError as error:
        return [*findings, judge_bus(error.name, str(error))]
    except BusGoneError as error:
        return [*findings, judge_bus("NoReply", str(error))]
    return [*findings, judge_bus("", ""), judge_paused(is_paused=bool(is_paused)), *await _diagnose(system, "")]


async def look_at(system: System, name: str) -> list[Finding]:
    """The daemon's own checks of one repo."""
    try:
        await _get(system, "Paused")
    except (BusError, BusGoneError) as error:  # of which look() tells
        return [unchecked("daemon-manager", f"the daemon does not say: {error}")]
    return await _diagnose(system, name)


async def _diagnose(system: System, name: str) -> list[Finding]:
    try:
        rows = (await system.ask(NAME, PATH, MANAGER, "Diagnose", "s", name))[0]
    except (BusError, BusGoneError) as error:
        if isinstance(error, BusError) and error.name == names.NO_SUCH_REPO:
            text = f"the daemon does not know of it yet: {error}"
            return [wrong(Problem.DAEMON_CONFIGURATION_REPO_UNKNOWN, text, _MENDS["daemon-configuration"])]
        return [unchecked("daemon-manager" if name else "daemon-redis", f"the daemon does not say: {error}")]
    return judge_rows([(str(check), bool(holds), str(sentence)) for check, holds, sentence in rows])


async def _get(system: System, name: str) -> Any:
    question = (names.PROPERTIES, "Get", "ss", MANAGER, name)
    return (await system.ask(NAME, PATH, *question, limit=PATIENCE))[0].value
