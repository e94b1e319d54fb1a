"""A systemd manager of the simulated host, as it is seen over D-Bus: units, their jobs, and who is connected.

Source: org.freedesktop.systemd1(5), systemd.service(5). A stage is a oneshot that stays (RemainAfterExit=yes) and is
collected when it is inactive; a failed one stays until it is reset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tinyci.dbus.bus import BusError
from tinyci.systemd.unit import path_of

if TYPE_CHECKING:
    from fakebus import FakeBus
    from hostmodel import HostModel, Run

STAGE = re.compile(r"tinyci-(build|verify|rollback)@([0-9a-f]{32})\.service")
_ERRORS = "org.freedesktop.systemd1."

EPOCH = 1_800_000_000
"""The time of the wall clock when the simulation begins."""
STOP_SECONDS = 8.0
"""Seconds until a stage that does not heed SIGTERM is killed (TimeoutStopSec=)."""

# The ways in which a stage may end: its ActiveState, Result, ExecMainCode, ExecMainStatus and StatusText.
STAGE_ENDS = {
    "succeeded": ("active", "success", 1, 0, ""),
    "unchanged": ("active", "success", 1, 0, "unchanged: the build made nothing new"),
    "failed": ("failed", "exit-code", 1, 3, "failed: ci-build.sh exited with status 3"),
    "rejected": ("failed", "exit-code", 1, 1, "rejected: there is no such revision"),
    "refused": ("failed", "exit-code", 1, 1, "failed: the revision has no ci-build.sh"),
    "oom": ("failed", "oom-kill", 2, 9, ""),
    "killed": ("failed", "signal", 2, 9, ""),
}
# The ways in which a stage may end that is told to stop.
STAGE_STOPS = [
    ("failed", "exit-code", 1, 143, "failed: ci-build.sh was killed by SIGTERM"),
    ("inactive", "success", 1, 0, ""),
    ("failed", "timeout", 2, 9, ""),
]


@dataclass(eq=False)
class Unit:
    name: str
    is_loaded: bool
    active: str = "inactive"
    job: str = "/"
    job_type: str = ""
    invocation: str = ""
    result: str = "success"
    exit_code: int = 0
    exit_status: int = 0
    restarts: int = 0
    status_text: str = ""
    run: Run | None = None
    queue_time: float = 0.0
    """When its job was queued."""

    @property
    def path(self) -> str:
        return path_of(self.name)


def _name_at(path: str) -> str:
    label = path.rpartition("/")[2]
    return re.sub("_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), label)


class ServiceManager:
    """The manager of one user. It can end with all its units, or only be out of reach."""

    def __init__(self, host: HostModel, user: str) -> None:
        self.user = user
        self.is_up = True
        self.is_reachable = True
        self.is_stopping = False
        self.units: dict[str, Unit] = {}
        self.buses: list[FakeBus] = []
        self.calls: list[str] = []
        """The members that were called."""
        self.start_delay = 0.0
        """Seconds that a busy manager takes from the invocation of a stage, which it tells of, to its start."""
        self._host = host
        self._jobs = 0

    # -- events ------------------------------------------------------------------------------------

    def drop_connections(self) -> None:
        """Lose every connection; the units live on."""
        for wire in list(self.buses):
            wire.lose()

    def shut_down(self) -> None:
        """Stop the units one after the other, visibly on the bus, and end."""
        self.is_stopping = True

        def stop_next(units: list[Unit]) -> None:
            if not self.is_stopping:
                return
            if not units:
                self.stop()
                return
            unit = units.pop()
            if unit.job != "/":
                self._finish(unit, "canceled")
            if unit.active != "inactive":
                self._enter(unit, "deactivating", "success", 0, 0, "")
                if unit.run and not unit.run.result:
                    self._host.end_stage(unit.run, "cut off")
                self._host.mark_down(self.user, unit.name)
                self._enter(unit, *STAGE_STOPS[self._host.next_number() % len(STAGE_STOPS)])
            self._host.schedule(lambda: stop_next(units))

        stop_next(list(self.units.values()))

    def stop(self) -> None:
        """End at once, and with it all that it runs."""
        self.is_up = self.is_stopping = False
        self.drop_connections()
        for unit in self.units.values():
            if unit.run and not unit.run.result:
                self._host.end_stage(unit.run, "cut off")
            self._host.mark_down(self.user, unit.name)
            unit.job = unit.invocation = "gone"  # so that nothing that is scheduled for it happens
        self.units = {}

    def start(self) -> None:
        """Come up, and start the apps."""
        self.is_up = True
        for name in self._host.apps():
            unit = self._load(name)
            self._queue(unit, "start")
            self._host.schedule(lambda unit=unit, job=unit.job: self._start_app(unit, job))

    def end_stage(self, unit: Unit, result: str) -> None:
        """End a stage that runs; a verification does not succeed before the settle time is over."""
        assert unit.run and unit.active == "activating"
        if result == "succeeded" and not self._host.may_succeed(unit.run):
            return
        result, status = self._host.end_stage(unit.run, result)
        *rest, default_status = STAGE_ENDS[result]
        self._enter(unit, *rest, status or default_status)
        self._finish(unit, "done" if unit.active == "active" else "failed")

    def crash_app(self, unit: Unit, *, again: bool) -> None:
        """End an app by itself; `again`: its manager restarts it (Restart=)."""
        if unit.active != "active" or unit.job != "/":
            return
        self._host.mark_down(self.user, unit.name)
        if not again:
            self._enter(unit, "failed", "exit-code", 1, 1, "")
            return
        self._enter(unit, "activating", "success", 1, 1, "")
        unit.restarts += 1
        self._host.schedule(lambda invocation=unit.invocation: self._come_up_again(unit, invocation))

    # -- calls -----------------------------------------------------------------------------------

    def call(self, path: str, member: str, body: tuple[Any, ...]) -> list[Any]:
        self.calls.append(member)
        if member == "Subscribe":
            return []
        if member == "LoadUnit":
            return [self._load(body[0]).path]
        if member == "GetAll":
            unit = self._load(_name_at(path))
            load_state = SimpleNamespace(value="loaded" if unit.is_loaded else "not-found")
            return [self._changes(unit, body[0]) | {"LoadState": load_state}]
        if member == "Get":
            return [SimpleNamespace(value="stopping" if self.is_stopping else "running")]
        if member == "ResetFailedUnit":
            self._reset_failed(body[0])
            return []
        unit = self._load(body[0])
        if not unit.is_loaded:
            raise BusError(f"{_ERRORS}NoSuchUnit", f"Unit {unit.name} not found.")
        if self.is_stopping:
            raise BusError(f"{_ERRORS}TransactionIsDestructive", "There is a stop job queued for everything.")
        calls = {"StartUnit": self._start_stage, "StopUnit": self._stop_stage, "RestartUnit": self._restart_app}
        return [calls[member](unit)]

    def _load(self, name: str) -> Unit:
        if name not in self.units:
            unit = Unit(name, bool(STAGE.fullmatch(name) or name in self._host.apps()))
            self.units[name] = unit
            self._host.schedule(lambda: self._collect(unit))
        return self.units[name]

    def _changes(self, unit: Unit, interface: str) -> dict[str, Any]:
        """The properties of an interface that may change."""
        if interface.endswith(".Service"):
            values: dict[str, Any] = {
                "Result": unit.result,
                "ExecMainCode": unit.exit_code,
                "ExecMainStatus": unit.exit_status,
                "ExecMainPID": 0,
                "NRestarts": unit.restarts,
                "StatusText": unit.status_text,
                "ExecMainStartTimestampMonotonic": 0,
                "ExecMainExitTimestampMonotonic": 0,
            }
        else:
            values = {
                "ActiveState": unit.active,
                "SubState": unit.active,
                "Job": (0 if unit.job == "/" else 1, unit.job),
                "InactiveExitTimestampMonotonic": int(unit.run.start * 1_000_000) if unit.run else 0,
                "InvocationID": bytes.fromhex(unit.invocation),
                "ConditionResult": True,
                "ConditionTimestampMonotonic": 0,
            }
        return {name: SimpleNamespace(value=value) for name, value in values.items()}

    def _reset_failed(self, name: str) -> None:
        if name not in self.units:
            raise BusError(f"{_ERRORS}NoSuchUnit", f"Unit {name} not loaded.")
        unit = self.units[name]
        unit.restarts = 0
        if unit.active == "failed":
            self._enter(unit, "inactive", "success", unit.exit_code, unit.exit_status, unit.status_text)

    # -- stages ------------------------------------------------------------------------------------------------

    def _start_stage(self, unit: Unit) -> str:
        if unit.job_type == "stop":
            raise BusError(f"{_ERRORS}TransactionIsDestructive", "There is a stop job queued.")
        if unit.job_type == "start":
            return unit.job
        job = self._queue(unit, "start")

        def execute() -> None:
            if unit.job == job and unit.active == "active":
                self._finish(unit, "done")
            elif unit.job == job:
                unit.invocation, unit.run = self._host.new_hex(), None
                if self.start_delay:
                    self._emit_change(unit)
                    self._host.schedule(begin, self.start_delay)
                else:
                    begin()

        def begin() -> None:
            if unit.job == job:
                unit.run = self._host.begin_stage(unit.name, self.user, unit.invocation)
                self._enter(unit, "activating", "success", 0, 0, "")

        self._host.schedule(execute)
        return job

    def _stop_stage(self, unit: Unit) -> str:
        if unit.job_type == "stop":
            return unit.job
        if unit.job != "/":
            self._finish(unit, "canceled")
        job = self._queue(unit, "stop")
        properties = STAGE_STOPS[self._host.next_number() % len(STAGE_STOPS)]
        if unit.active == "activating":
            self._enter(unit, "deactivating", "success", 0, 0, "")

        def finish() -> None:
            if unit.job != job:
                return
            if unit.active == "deactivating":
                assert unit.run
                self._host.end_stage(unit.run, "stopped")
                self._enter(unit, *properties)
            elif unit.active == "active":
                self._enter(unit, "inactive", unit.result, unit.exit_code, unit.exit_status, unit.status_text)
            self._finish(unit, "done")

        is_killed = unit.active == "deactivating" and properties[1] == "timeout"
        self._host.schedule(finish, STOP_SECONDS if is_killed else 0.0)
        return job

    # -- apps --------------------------------------------------------------------------------------------------

    def _restart_app(self, unit: Unit) -> str:
        if unit.job != "/":  # merged into the job that there is, which begins anew
            job, unit.job_type = unit.job, "restart"
        else:
            job = self._queue(unit, "restart")
        self._host.schedule(lambda: self._stop_app(unit, job))
        return job

    def _stop_app(self, unit: Unit, job: str) -> None:
        if unit.job != job:
            return
        self._host.mark_down(self.user, unit.name)
        if unit.active != "inactive":
            self._enter(unit, "deactivating", "success", 0, 0, "")
        self._host.schedule(lambda: self._start_app(unit, job))

    def _start_app(self, unit: Unit, job: str) -> None:
        if unit.job != job:
            return
        plan = self._host.take_plan(unit.name)
        # Merged with the job of systemd's own restart (Restart=), which keeps its count.
        unit.invocation, unit.restarts = self._host.new_hex(), int(plan == "merged")
        self._enter(unit, "activating", "success", 0, 0, "")
        self._host.start_app(self.user, unit.name)
        invocation = unit.invocation
        delay = {"slow": 20.0, "hangs": 45.0, "hangs long": 200.0}.get(plan, 0.0)

        def finish() -> None:
            if unit.job != job or unit.invocation != invocation:
                return
            if plan in ("fails", "hangs", "hangs long"):
                self._enter(unit, "failed", "timeout" if plan.startswith("hangs") else "exit-code", 1, 1, "")
                self._finish(unit, "failed")
                return
            self._enter(unit, "active", "success", 0, 0, "")
            self._host.mark_up(self.user, unit.name)
            self._finish(unit, "done")
            if plan in ("dies", "flaps"):
                self._host.schedule(lambda: self._crash_if_same(unit, invocation, again=plan == "flaps"), 1.0)

        self._host.schedule(finish, delay)

    def _crash_if_same(self, unit: Unit, invocation: str, *, again: bool) -> None:
        if unit.invocation == invocation:
            self.crash_app(unit, again=again)

    def _come_up_again(self, unit: Unit, invocation: str) -> None:
        if unit.invocation != invocation or unit.job != "/":
            return
        unit.invocation = self._host.new_hex()
        self._host.start_app(self.user, unit.name)
        self._enter(unit, "active", "success", 0, 0, "")
        self._host.mark_up(self.user, unit.name)

    # -- small things ------------------------------------------------------------------------------------------

    def _queue(self, unit: Unit, kind: str) -> str:
        self._jobs += 1
        unit.job, unit.job_type, unit.queue_time = f"/job/{self._jobs}", kind, self._host.loop.time()
        self._emit_change(unit)
        return unit.job

    def _finish(self, unit: Unit, result: str) -> None:
        job, unit.job, unit.job_type = unit.job, "/", ""
        self._emit("/manager", "org.freedesktop.systemd1.Manager", "JobRemoved", [1, job, unit.name, result])
        self._emit_change(unit)

    def _enter(self, unit: Unit, active: str, result: str, code: int, status: int, text: str) -> None:
        unit.active, unit.result, unit.status_text = active, result, text
        unit.exit_code, unit.exit_status = code, status
        self._emit_change(unit)

    def _emit_change(self, unit: Unit) -> None:
        for kind in ("Service", "Unit"):
            interface = f"org.freedesktop.systemd1.{kind}"
            body = [interface, self._changes(unit, interface), []]
            self._emit(unit.path, "org.freedesktop.DBus.Properties", "PropertiesChanged", body)
        self._host.schedule(lambda: self._collect(unit))

    def _collect(self, unit: Unit) -> None:
        is_over = unit.active == "inactive" and unit.job == "/"
        if STAGE.fullmatch(unit.name) and is_over and self.units.get(unit.name) is unit:
            del self.units[unit.name]

    def _emit(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        for wire in list(self.buses):
            wire.signal(path, interface, member, body)
