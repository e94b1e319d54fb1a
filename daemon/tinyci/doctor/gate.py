"""The gate into a user's manager: up, and passing just the calls that a deploy needs."""

from collections.abc import Sequence
from dataclasses import replace

from tinyci.dbus import names
from tinyci.dbus.bus import Bus, BusError, BusGoneError
from tinyci.doctor import files, packages, service
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.service import judge_enabled
from tinyci.doctor.system import System, UnitProperties, own_drop_ins, user_entry
from tinyci.model.gate import socket_path, unit_name

_NAME, _PATH, _MANAGER = names.SYSTEMD
_METHODS = (
    "StartUnit",
    "StopUnit",
    "RestartUnit",
    "ResetFailedUnit",
    "LoadUnit",
    "Subscribe",
)
# As in units/system/tinyci-gate@.service (tests/unit/test_doctor.py holds them together).
PASSES = (
    *(f"--call={_NAME}={_MANAGER}.{method}@{_PATH}" for method in _METHODS),
    f"--call={_NAME}={names.PROPERTIES}.Get@{_PATH}/*",
    f"--call={_NAME}={names.PROPERTIES}.GetAll@{_PATH}/*",
    f"--broadcast={_NAME}={_MANAGER}.JobRemoved@{_PATH}",
    f"--broadcast={_NAME}={names.PROPERTIES}.PropertiesChanged@{_PATH}/*",
)
_PROXY = "/usr/bin/xdg-dbus-proxy"


def judge_filter(uid: int, command: Sequence[str], mend: str) -> Finding:
    """`command`: the command line of the gate's process."""
    head = (_PROXY, f"unix:path=/run/user/{uid}/bus", socket_path(uid), "--filter")
    more = [word for word in command if word not in (*head, *PASSES, "--log")]
    less = [word for word in (*head, *PASSES) if word not in command]
    if "--filter" not in command:  # without it the rest counts for nothing
        return wrong(
            Problem.GATE_FILTER_NONE, "the gate passes everything: the daemon could do as much as the user", mend
        )
    if more:
        text = f"the gate passes more than a deploy needs ({more[0]}): the daemon could do as much as the user"
        return wrong(Problem.GATE_FILTER_WIDE, text, mend)
    if less:
        return wrong(Problem.GATE_FILTER_NARROW, f"the gate does not pass what a deploy needs ({less[0]})", mend)
    return ok("gate-filter", "the gate is told to pass what a deploy needs, and no more")


def mend_filter(uid: int, unit: UnitProperties, drop_ins: Sequence[str], *, is_released: bool) -> str:
    """`drop_ins`: those that set another command line. `is_released`: the unit's file is as it was installed."""
    restart = f"systemctl restart {unit_name(uid)}"
    if drop_ins:
        return f"rm {' '.join(drop_ins)} && systemctl daemon-reload && {restart}"
    if not is_released:
        return files.restore(f"{files.UNITS}/tinyci-gate@.service", then=restart)
    return f"systemctl daemon-reload && {restart}"


def judge_tried(uid: int, needed_error: str, forbidden_error: str) -> Finding:
    """The names of the errors of two calls through the gate, one that a deploy needs and one that must not pass; empty
    when the call was carried out."""
    restart = f"systemctl restart {unit_name(uid)}"
    if needed_error:
        text = f"a call that every deploy needs does not come through the gate: {needed_error}"
        return wrong(Problem.GATE_TRIED_DENIES, text, restart)
    if forbidden_error != names.ACCESS_DENIED:
        call = f"StartTransientUnit ({forbidden_error})"
        text = f"the gate passed {call}, with which the daemon could run anything as the user"
        return wrong(Problem.GATE_TRIED_GRANTS, text, restart)
    return ok("gate-tried", "a call that deploys need came through the gate, and one that they do not was refused")


async def look(system: System, user: str) -> list[Finding]:
    entry = user_entry(user)
    if entry is None or user == "root":
        return []
    uid, name = entry.pw_uid, unit_name(entry.pw_uid)
    loss = f"the daemon cannot reach the manager of {user}"
    install = files.restore(f"{files.UNITS}/tinyci-gate@.service", then=f"systemctl enable --now {name}")
    up, unit = await service.look(system, "gate", name, loss, install)
    if not system.exists(_PROXY):
        mend = f"{packages.install('xdg-dbus-proxy')} && systemctl restart {name}"
        up = wrong(Problem.GATE_NO_PROXY, f"xdg-dbus-proxy is not installed, and without a gate {loss}", mend)
    elif up.verdict == "wrong" and unit.get("ActiveState") == "inactive" and unit.get("UnitFileState") == "disabled":
        up = replace(up, mend=f"systemctl enable --now {name}")
    findings = [up, judge_enabled("gate", name, unit, f"after the next boot {loss}")]
    if up.verdict != "ok":
        return findings
    command = (system.read(f"/proc/{unit['MainPID']}/cmdline") or "").strip("\0").split("\0")
    drop_ins = own_drop_ins(system, unit, "ExecStart")
    fragment = unit.get("FragmentPath", "")
    if not any(command):
        return [*findings, unchecked("gate-filter"), unchecked("gate-tried")]
    archived_unit = await system.run("tar", "-xOf", files.ARCHIVE, f"{files.UNITS[1:]}/tinyci-gate@.service")
    is_released = fragment.startswith(files.UNITS) and archived_unit.out == system.read(fragment)
    mend = mend_filter(uid, unit, drop_ins, is_released=is_released)
    findings.append(judge_filter(uid, command, mend))
    if not system.may_be(user):
        return [*findings, unchecked("gate-tried")]
    return [*findings, await _try(uid)]


async def _try(uid: int) -> Finding:
    restart = f"systemctl restart {unit_name(uid)}"
    try:
        bus = await Bus.connect(f"unix:path={socket_path(uid)}", uid)
    except BusGoneError as error:
        return wrong(Problem.GATE_TRIED_CLOSED, f"the gate does not let anybody in: {error}", restart)
    try:
        needed_error = await _call(bus, "LoadUnit", "s", "tinyci-build.slice")
        # Without a name for it nothing would be started, were it passed.
        forbidden_error = await _call(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", "", "fail", [], [])
    except BusGoneError as error:
        return wrong(Problem.GATE_TRIED_SILENT, f"no answer comes through the gate: {error}", restart)
    finally:
        await bus.close()
    return judge_tried(uid, needed_error, forbidden_error)


async def _call(bus: Bus, member: str, signature: str, *body: object) -> str:
    """Return the name of the error, empty when there is none. Raises BusGoneError."""
    try:
        await bus.call(*names.SYSTEMD, member, signature, *body, timeout=10.0)
    except BusError as error:
        return error.name
    return ""
