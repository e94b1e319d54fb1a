"""org.tinyci1.Job: one job on the bus, the fields of its hash as properties."""

from collections.abc import Mapping
from typing import Any

from tinyci.api.outputreader import OutputReader, PositionError
from tinyci.api.polkit import NAME, Authority
from tinyci.api.requests import Requests
from tinyci.dbus.bus import ReplyError, ServiceInterface
from tinyci.dbus.interface import method, prop

PATH = "/org/tinyci1"

# Property, its D-Bus type, and the field of the job's hash that it is. Times are ISO 8601 in UTC, durations seconds.
PROPERTIES = (
    ("Id", "s", "id"),
    ("Repo", "s", "repo"),
    ("Ref", "s", "ref"),
    ("Revision", "s", "revision"),
    ("Previous", "s", "previous"),
    ("Pusher", "s", "pusher"),
    ("State", "s", "state"),
    ("Success", "b", "success"),
    ("Reason", "s", "reason"),
    ("Output", "s", "output"),
    ("Attempt", "u", "attempt"),
    ("ExitStatus", "i", "exit_status"),
    ("RollbackTo", "s", "rollback_to"),
    ("Image", "s", "image"),
    ("RunningImage", "s", "running_image"),
    ("Unit", "s", "unit"),
    ("InvocationID", "s", "invocation_id"),
    ("User", "s", "user"),
    ("Created", "s", "created"),
    ("Started", "s", "started"),
    ("Finished", "s", "finished"),
    ("BuildDuration", "d", "build_duration"),
    ("RestartDuration", "d", "restart_duration"),
    ("VerifyDuration", "d", "verify_duration"),
)
_CONST = ("Id", "Repo", "Ref", "Previous", "Pusher", "RollbackTo")
_BY_FIELD = {field: (name, kind) for name, kind, field in PROPERTIES}


def value_of(kind: str, text: str) -> Any:
    """A hash field as the D-Bus type of its property; what is not there yet is empty, false, 0, and -1 for `i`."""
    try:
        match kind:
            case "b":
                return text == "true"
            case "u":
                return min(max(int(text or "0"), 0), 2**32 - 1)
            case "i":
                return min(max(int(text or "-1"), -(2**31)), 2**31 - 1)
            case "d":
                return float(text or "0")
    except ValueError:
        return {"u": 0, "i": -1, "d": 0.0}[kind]
    # A D-Bus string holds neither.
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def path_of(job_id: str) -> str:
    return f"{PATH}/job/_{job_id.replace('-', '')}"


def _property(name: str, kind: str, field: str) -> Any:
    def getter(self: "JobObject") -> Any:
        return value_of(kind, self.fields.get(field, ""))

    getter.__name__ = name
    getter.__annotations__ = {"return": kind}
    return prop("const" if name in _CONST else "true", name)(getter)


class JobObject(ServiceInterface):  # type: ignore[misc]
    """One job."""

    def __init__(
        self, fields: Mapping[str, str], requests: Requests, authority: Authority, readers: OutputReader
    ) -> None:
        super().__init__(f"{NAME}.Job")
        self.fields = dict(fields)
        self._requests = requests
        self._authority = authority
        self._readers = readers

    for _row in PROPERTIES:
        locals()[_row[0]] = _property(*_row)
    del _row

    @method()
    async def Cancel(self):  # type: ignore[no-untyped-def]
        """As Manager.Cancel() of this job."""
        await self._authority.allow("cancel", self.fields.get("repo", ""))
        await self._authority.carry_out(self._requests.cancel(self.fields["id"]))

    @method("position", "lines", "state")
    async def ReadOutput(self, after: "s", wait: "b") -> "sass":
        """Lines of the output that come after a position, the position after them, and the state of the job.

        The first position is the empty string; any other is what an earlier call returned. With `wait` the answer
        comes when there are lines, or another state than that call told, or after 20 s. Without lines in a final state
        there will be none any more.
        """
        try:
            read = self._readers.read(self.fields, after, wait)
            position, lines, state = await self._authority.carry_out(read)
        except PositionError as error:
            raise ReplyError("org.freedesktop.DBus.Error.InvalidArgs", str(error)) from None
        return [position, [value_of("s", line) for line in lines], value_of("s", state)]

    def change(self, fields: Mapping[str, str]) -> None:
        """Take over fields and say so (PropertiesChanged)."""
        changed = {}
        for field, text in fields.items():
            if field in _BY_FIELD:
                name, kind = _BY_FIELD[field]
                if (value := value_of(kind, text)) != value_of(kind, self.fields.get(field, "")):
                    changed[name] = value
        self.fields.update(fields)
        if "state" in fields:
            self._readers.wake(self.fields["id"])
        if changed:
            self.emit_properties_changed(changed)
