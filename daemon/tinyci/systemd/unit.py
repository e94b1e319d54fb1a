"""A unit of systemd's, as its manager describes it. Source: org.freedesktop.systemd1(5), whose names are kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyci.systemd import replies

NO_JOB = "/"
"""Instead of the object path of a job."""
UP = ("active", "reloading", "refreshing")
"""Values of ActiveState: a service that reads its configuration anew runs on (sd_notify(3), RELOADING=1)."""
_DEPENDENTS = ("RequiredBy", "BoundBy", "ConsistsOf")
_REQUIREMENTS = ("Requires", "Requisite", "BindsTo")
_GOOD = ("", "success")
UNIT_CHANGES = frozenset(
    (
        *("ActiveState", "SubState", "Job", "InvocationID", "InactiveExitTimestampMonotonic"),
        *("ConditionResult", "ConditionTimestampMonotonic"),
    )
)
SERVICE_CHANGES = frozenset(
    (
        *("Result", "NRestarts", "StatusText", "ExecMainCode", "ExecMainStatus", "ExecMainPID"),
        *("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic"),
    )
)
"""Properties that change while a unit runs, of its interfaces Unit and Service: each change is signalled, with the
values of all of the interface's. Others change when the manager reads the unit's files again."""
PROPERTIES = frozenset(
    (
        *UNIT_CHANGES,
        *SERVICE_CHANGES,
        *_DEPENDENTS,
        *_REQUIREMENTS,
        *("LoadState", "TriggeredBy", "StopWhenUnneeded", "NeedDaemonReload"),
        *("Type", "User", "ExecStart", "TimeoutStartUSec"),
    )
)
"""All properties that a Unit is made from."""


@dataclass(frozen=True)
class Unit:
    """A unit in the state of one moment."""

    name: str
    path: str
    load_state: str
    active_state: str
    sub_state: str
    job: str
    """Object path of the job that is queued or runs for it, or NO_JOB."""
    invocation_id: str
    """32 hexadecimal digits; empty when it never ran."""
    result: str
    exit_code: int
    """`si_code` of the main process: 1 exited, 2 killed, 3 dumped; 0 when there was none."""
    exit_status: int
    """Exit status, or the number of the signal."""
    restarts: int
    status_text: str
    """The last STATUS= of the service (sd_notify(3))."""
    dependents: tuple[str, ...]
    """Units with Requires=, BindsTo= or PartOf= on it: stopped when it stops, and not started again with it when its
    start failed in between."""
    start_time: float
    """Time at which it last left `inactive`, in seconds of CLOCK_MONOTONIC; 0 when it never did."""
    start_limit: float = 0.0
    """Seconds that its start may take (TimeoutStartSec=)."""
    end_time: float = 0.0
    """Time at which its main process ended, in seconds of CLOCK_MONOTONIC; 0 when it did not."""
    process_start: float = 0.0
    """Time at which its main process was started, in seconds of CLOCK_MONOTONIC; 0 when it was not."""
    main_pid: int = 0
    """Process id of its last main process, which may have ended; 0 when there was none."""
    requirements: tuple[str, ...] = ()
    """Units without which it is not started."""
    triggers: tuple[str, ...] = ()
    """Sockets, timers and paths that start it (TriggeredBy=)."""
    service_type: str = ""
    """Type= of a service: `simple`, `notify`, `oneshot`."""
    user: str = ""
    """User= of a service; empty when it has none."""
    command_words: tuple[str, ...] = ()
    """The words of all its ExecStart= lines."""
    stops_when_unneeded: bool = False
    needs_reload: bool = False
    """Its files have changed since the manager read them."""
    is_condition_unmet: bool = False
    """Its last start was skipped, since a Condition...= of it was not met."""

    @classmethod
    def parse(cls, name: str, path: str, properties: Mapping[str, Any]) -> "Unit":
        """Make a unit from the properties of its interface Unit and, if it is a service, of its interface Service.
        Raises NonsenseError."""
        return cls(
            name=name,
            path=path,
            load_state=replies.text(properties, "LoadState"),
            active_state=replies.text(properties, "ActiveState"),
            sub_state=replies.text(properties, "SubState"),
            job=replies.job(properties, NO_JOB),
            invocation_id=replies.invocation(properties),
            result=replies.text(properties, "Result"),
            exit_code=replies.number(properties, "ExecMainCode", -(2**31), 2**31 - 1),
            exit_status=replies.number(properties, "ExecMainStatus", -(2**31), 2**31 - 1),
            main_pid=replies.number(properties, "ExecMainPID", 0, 2**32 - 1),
            restarts=replies.number(properties, "NRestarts", 0, 2**32 - 1),
            status_text=replies.text(properties, "StatusText"),
            dependents=replies.units(properties, _DEPENDENTS),
            start_time=_seconds(properties, "InactiveExitTimestampMonotonic"),
            start_limit=_seconds(properties, "TimeoutStartUSec"),
            end_time=_seconds(properties, "ExecMainExitTimestampMonotonic"),
            process_start=_seconds(properties, "ExecMainStartTimestampMonotonic"),
            requirements=replies.units(properties, _REQUIREMENTS),
            triggers=replies.units(properties, ("TriggeredBy",)),
            service_type=replies.text(properties, "Type"),
            user=replies.text(properties, "User"),
            command_words=replies.command_words(properties, "ExecStart"),
            stops_when_unneeded=replies.flag(properties, "StopWhenUnneeded"),
            needs_reload=replies.flag(properties, "NeedDaemonReload"),
            is_condition_unmet=bool(_seconds(properties, "ConditionTimestampMonotonic"))
            and not replies.flag(properties, "ConditionResult"),
        )

    @property
    def has_job(self) -> bool:
        return self.job != NO_JOB

    @property
    def is_loaded(self) -> bool:
        return self.load_state == "loaded"

    @property
    def is_idle(self) -> bool:
        """True if it has no job, and is neither starting nor stopping by itself."""
        return not self.has_job and self.active_state not in ("activating", "deactivating", "reloading", "refreshing")

    @property
    def is_up(self) -> bool:
        return self.active_state in UP

    @property
    def has_exited(self) -> bool:
        """True if its main process ended by itself, not by a signal."""
        return self.exit_code == 1

    @property
    def is_oneshot(self) -> bool:
        return self.service_type == "oneshot"

    @property
    def has_ended_well(self) -> bool:
        """True if it is inactive by design: it has done its work, or stands still until somebody needs it.

        systemd forgets a unit that is inactive when no other one refers to it, and its InvocationID with it; one that
        failed it remembers.
        """
        if self.active_state != "inactive" or self.has_job:
            return False
        if self.is_oneshot:
            return self.result in (*_GOOD, "exec-condition")
        is_on_demand = self.stops_when_unneeded or bool(self.triggers)
        return is_on_demand and self.result in _GOOD and not self.is_condition_unmet

    @property
    def has_start_timed_out(self) -> bool:
        """True if its start took too long. Its Result is the same when it was told to stop, and did not in time."""
        return self.result == "timeout" and self.end_time - self.start_time >= self.start_limit

    @property
    def is_unused(self) -> bool:
        """True if it has not run since its manager started, or its last run has been cleared away."""
        return self.active_state == "inactive" and not self.has_job and not self.invocation_id


def path_of(name: str) -> str:
    """Return the path of the object of a unit that has no other name (sd_bus_path_encode(3))."""
    label = re.sub(r"^[0-9]|[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):02x}", name)
    return f"/org/freedesktop/systemd1/unit/{label}"


def _seconds(properties: Mapping[str, Any], key: str) -> float:
    return replies.number(properties, key, 0, 2**64 - 1) / 1_000_000
