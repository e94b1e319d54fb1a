"""The gate into a user's manager: up, and passing just what a deploy needs."""

from collections.abc import Sequence
from dataclasses import replace

from tinyci.dbus import names
from tinyci.dbus.bus import Bus
from tinyci.doctor import files, packages, service
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.service import judge_enabled
from tinyci.doctor.system import BusError, BusGoneError, System, UnitProperties, own_drop_ins, user_entry
from tinyci.model.gate import socket_path, unit_name

_NAME, _PATH, _MANAGER = names.SYSTEMD
_METHODS = (
    "StartUnit",
    "StopUnit",
    "RestartUnit",
    "ResetFailedUnit",
    "GetUnit",
    "LoadUnit",
    "ListUnitsByPatterns",
    "GetJob",
    "Subscribe",
)
# As in units/system/tinyci-gate@.service (tests/unit/test_doctor.py holds them together).
PASSES = (
    *(f"--call={_NAME}={_MANAGER}.{method}@{_PATH}" for method in _METHODS),
    f"--call={_NAME}={names.PROPERTIES}.Get@{_PATH}/*",
    f"--call={_NAME}={names.PROPERTIES}.GetAll@{_PATH}/*",
    f"--broadcast={_NAME}={_MANAGER}.*@{_PATH}",
    f"--broadcast={_NAME}={names.PROPERTIES}.PropertiesChanged@{_PATH}/*",
)
_PROXY = "/usr/bin/xdg-dbus-proxy"


def judge_filter(uid: int, running: Sequence[str], mend: str) -> Finding:
    """`running`: the command line of the gate's process."""
    head = (_PROXY, f"unix:path=/run/user/{uid}/bus", socket_path(uid), "--filter")
    more = [word for word in running if word not in (*head, *PASSES, "--log")]
    less = [word for word in (*head, *PASSES) if word not in running]
    if "--filter" not in running:  # without it the rest counts for nothing
        return wrong(
            Problem.GATE_FILTER_NONE, "the gate passes everything: the daemon could do as much as the user", mend
        )
    if more:
        text = f"the gate passes more than a deploy needs ({more[0]}): the daemon could do as much as the user"
        return wrong(Problem.GATE_FILTER_WIDE, text, mend)
    if less:
        return wrong(Problem.GATE_FILTER_NARROW, f"the gate does not pass what a deploy needs ({less[0]})", mend)
    return ok("gate-filter", "the gate is told to pass what a deploy needs, and no more")


def mend_filter(uid: int, unit: UnitProperties, spoiled: Sequence[str], is_released: bool) -> str:
    """`spoiled`: drop-ins that set another command line. `is_released`: the unit's file is as it was installed."""
    restart = f"systemctl restart {unit_name(uid)}"
    if spoiled:
        return f"rm {' '.join(spoiled)} && systemctl daemon-reload && {restart}"
    if not is_released:
        return files.restore(f"{files.UNITS}/tinyci-gate@.service", then=restart)
    return f"systemctl daemon-reload && {restart}"


def judge_tried(uid: int, passed: str, refused: str) -> Finding:
    """What came of a call that a deploy needs and of one that it does not, through the gate: the name of the error, or
    nothing when it was carried out."""
    restart = f"systemctl restart {unit_name(uid)}"
    if passed:
        return wrong(
            Problem.GATE_TRIED_DENIES,
            f"a call that every deploy needs does not come through the gate: {passed}",
            restart,
        )
    if refused != names.ACCESS_DENIED:
        text = f"the gate passed StartTransientUnit ({refused}), with which the daemon could run anything as the user"
        return wrong(Problem.GATE_TRIED_GRANTS, text, restart)
    return ok("gate-tried", "a call that deploys need came through the gate, and one that they do not was refused")


async def look(system: System, user: str) -> list[Finding]:
    entry = user_entry(user)
    if entry is None or user == "root":
        return []
    uid, name = entry.pw_uid, unit_name(entry.pw_uid)
    why = f"the daemon cannot reach the manager of {user}"
    install = files.restore(f"{files.UNITS}/tinyci-gate@.service", then=f"systemctl enable --now {name}")
    up, unit = await service.look(system, "gate", name, why, install)
    if not system.exists(_PROXY):
        mend = f"{packages.install('xdg-dbus-proxy')} && systemctl restart {name}"
        up = wrong(Problem.GATE_NO_PROXY, f"xdg-dbus-proxy is not installed, and without a gate {why}", mend)
    elif up.verdict == "wrong" and unit.get("ActiveState") == "inactive" and unit.get("UnitFileState") == "disabled":
        up = replace(up, mend=f"systemctl enable --now {name}")
    findings = [up, judge_enabled("gate", name, unit, f"after the next boot {why}")]
    if up.verdict != "ok":
        return findings
    command = (system.read(f"/proc/{unit['MainPID']}/cmdline") or "").strip("\0").split("\0")
    spoiled = own_drop_ins(system, unit, "ExecStart")
    fragment = unit.get("FragmentPath", "")
    if not any(command):
        return [*findings, unchecked("gate-filter"), unchecked("gate-tried")]
    archived = await system.run("tar", "-xOf", files.ARCHIVE, f"{files.UNITS[1:]}/tinyci-gate@.service")
    released = fragment.startswith(files.UNITS) and archived.out == system.read(fragment)
    findings.append(judge_filter(uid, command, mend_filter(uid, unit, spoiled, released)))
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
        passed = await _call(bus, "LoadUnit", "s", "tinyci-build.slice")
        # Without a name for it nothing would be started, were it passed.
        refused = await _call(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", "", "fail", [], [])
    except BusGoneError as error:
        return wrong(Problem.GATE_TRIED_SILENT, f"no answer comes through the gate: {error}", restart)
    finally:
        await bus.close()
    return judge_tried(uid, passed, refused)


async def _call(bus: Bus, member: str, signature: str, *body: object) -> str:
    """Raises BusGone."""
    try:
        await bus.call(*names.SYSTEMD, member, signature, *body, timeout=10.0)
    except BusError as error:
        return error.name
    return ""
