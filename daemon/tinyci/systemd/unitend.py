"""The end of a unit, in a person's words. Source: systemd.service(5), org.freedesktop.systemd1(5) ("Result")."""

import signal

from tinyci.model import timespan
from tinyci.systemd.unit import Unit

_EXITED, _DUMPED = 1, 3
"""`si_code` of a process that exited, and of one that crashed with a core dump (sigaction(2))."""

# Statuses of a process that ended before its program began (systemd.exec(5)). A program may exit with them too.
_EXEC_STATUSES = {
    200: "its WorkingDirectory= cannot be entered",
    203: "its program cannot be executed (ExecStart=)",
    209: "its StandardOutput= cannot be opened",
    216: "its Group= does not exist",
    217: "its User= does not exist",
    226: "its namespace cannot be made (ReadWritePaths= and the like name what is not there)",
    238: "its StateDirectory= cannot be made",
}
_CAUSES = {
    "start-limit-hit": "it was started too often in a short time (StartLimitBurst=)",
    "watchdog": "it did not answer the watchdog in time (WatchdogSec=)",
    "oom-kill": "it ran out of memory",
    "protocol": "it ended before it said that it is ready (Type=)",
    "resources": "systemd lacks something that it needs, such as a file (EnvironmentFile=, PIDFile=)",
}
_FOREVER = 1e9
"""Seconds from which on a limit is none: systemd has the largest number for infinity."""


def fall(unit: Unit) -> str:
    """Say how a unit fell that was up after its restart."""
    if unit.restarts:
        times = "once" if unit.restarts == 1 else f"{unit.restarts} times"
        cause = cause_of(unit)
        return f"{unit.name} fell after its restart, and systemd has started it {times} since" + (
            f": {cause}" if cause else ""
        )
    if unit.active_state == "failed" and unit.result == "timeout":  # it was up: its start was in time
        return f"{unit.name} fell after its restart: it ran too long (RuntimeMaxSec=), or did not end when told to"
    if unit.active_state == "failed" or (unit.active_state == "activating" and cause_of(unit)):  # Restart= comes next
        return f"{unit.name} fell{_after(unit, ' its restart')}: {cause_of(unit) or unit.result}"
    if unit.is_condition_unmet:
        return f"{unit.name} was not started: a condition in its file is not met (Condition...=)"
    if unit.active_state != "inactive":
        return f"{unit.name} is not up: it is {unit.active_state} ({unit.sub_state})"
    if unit.exit_code == _EXITED and not unit.exit_status:
        return (
            f"{unit.name} ended{_after(unit, ' its restart')}: its main process exited with status 0, and a service "
            "has to stay up (one that does its work and ends is Type=oneshot)"
        )
    if not unit.invocation_id:  # systemd has forgotten it
        return (
            f"{unit.name} did not stay up after its restart: it ended without an error, or was stopped, and a service "
            "has to stay up (one that does its work and ends is Type=oneshot)"
        )
    return f"{unit.name} is down: it was stopped after its restart"


def start_failure(unit: Unit, result: str) -> str:
    """Say why a restart failed. `result`: that of the job; `dependency` is not told here."""
    if result == "canceled":
        return f"the restart of {unit.name} was cancelled by somebody, who started or stopped it meanwhile"
    if result in ("timeout", "failed") and (cause := cause_of(unit)):
        return f"{unit.name} did not start: {cause}"
    return f"{unit.name} did not start: its restart ended with {result}"


def cause_of(unit: Unit) -> str:
    """Say why a unit is down, as a clause; empty when systemd does not tell."""
    if unit.result == "timeout":
        return _limit(unit)
    if unit.result in _CAUSES:
        return _CAUSES[unit.result]
    if unit.exit_code == _EXITED and unit.exit_status in _EXEC_STATUSES:
        return f"{_EXEC_STATUSES[unit.exit_status]}, status {unit.exit_status}"
    if unit.exit_code == _EXITED and (unit.exit_status or unit.result == "success"):
        return f"its main process exited with status {unit.exit_status}" if unit.exit_status else ""
    if unit.exit_code > _EXITED and unit.result != "success":
        verb = "crashed with" if unit.exit_code == _DUMPED else "was killed by"
        return f"its main process {verb} {_signal_name(unit.exit_status)}"
    if unit.result in ("exit-code", "signal", "core-dump"):
        return "a command beside its main process failed (ExecStartPre=, ExecStartPost=, ExecStop=)"
    return "" if unit.result in ("", "success") else unit.result


def _limit(unit: Unit) -> str:
    limit = f"={timespan.show(unit.start_limit)}" if 0 < unit.start_limit < _FOREVER else "="
    return f"it was not ready in time (TimeoutStartSec{limit})"


def _after(unit: Unit, what: str) -> str:
    """Say how long its main process ran, as far as that is known."""
    if not 0 < unit.process_start <= unit.end_time:
        return f" after{what}"
    return f" {timespan.brief(unit.end_time - unit.process_start)} after{what}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals
        return f"signal {number}"
