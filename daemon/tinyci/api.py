"""org.tinyci1: what tinyci says of itself and its jobs on the system bus. Reading is open to everyone."""

import asyncio
import pwd
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tinyci import __version__, polkit
from tinyci.bus import Bus, BusError, BusGone, DBusReply, ServiceInterface, caller
from tinyci.interface import method, prop, signal
from tinyci.job import FINAL, is_id
from tinyci.request import RequestError, Requests

NAME = "org.tinyci1"
PATH = "/org/tinyci1"
EXPORTED = 100
"""Ended jobs that stay on the bus; the library's cost of a signal grows with what is exported."""

if TYPE_CHECKING:  # the command line imports this file, and need not wait for what a diagnosis imports
    from tinyci.diagnosis import Diagnosis

T = TypeVar("T")

_BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)

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


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def path_of(job_id: str) -> str:
    return f"{PATH}/job/_{job_id.replace('-', '')}"


def _property(name: str, kind: str, field: str) -> Any:
    def getter(self: "JobObject") -> Any:
        return value_of(kind, self.fields.get(field, ""))

    getter.__name__ = name
    getter.__annotations__ = {"return": kind}
    return prop("const" if name in _CONST else "true", name)(getter)


class JobObject(ServiceInterface):  # type: ignore[misc]
    """One job: the fields of its hash as properties."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(f"{NAME}.Job")
        self.fields = dict(fields)

    for _row in PROPERTIES:
        locals()[_row[0]] = _property(*_row)
    del _row

    def change(self, fields: Mapping[str, str]) -> None:
        """Take over fields and say so (PropertiesChanged)."""
        changed = {}
        for field, text in fields.items():
            if field in _BY_FIELD and text != self.fields.get(field):
                name, kind = _BY_FIELD[field]
                changed[name] = value_of(kind, text)
        self.fields.update(fields)
        if changed:
            self.emit_properties_changed(changed)


class ManagerObject(ServiceInterface):  # type: ignore[misc]
    """All jobs, and tinyci itself."""

    def __init__(
        self,
        jobs: Mapping[str, JobObject],
        repos: Callable[[], Sequence[str]],
        requests: Requests,
        diagnosis: "Diagnosis | None",
    ) -> None:
        super().__init__(f"{NAME}.Manager")
        self.bus: Bus | None = None
        self._diagnosis = diagnosis
        self._jobs = jobs
        self._repos = repos
        self._requests = requests

    @method("jobs")
    def ListJobs(self) -> "a(sssso)":
        """Id, repo, ref, state and object path of the live and the recent jobs, oldest first."""
        return [
            [job_id, *(value_of("s", job.fields.get(name, "")) for name in ("repo", "ref", "state")), path_of(job_id)]
            for job_id, job in self._jobs.items()
        ]

    @method("job")
    def GetJob(self, id: "s") -> "o":
        """The object of a job; org.tinyci1.Error.NoSuchJob when it is none of the live and recent ones."""
        if id not in self._jobs:
            raise DBusReply(f"{NAME}.Error.NoSuchJob", f"no live or recent job has the id {id!r}")
        return path_of(id)

    @method()
    async def Cancel(self, id: "s"):  # type: ignore[no-untyped-def]
        """End a job that waits or builds, and return when it has ended. Asks polkit for org.tinyci1.cancel.

        org.tinyci1.Error.AlreadyFinished when it has ended, or is past its build; then not before its end.
        """
        await self._allowed("cancel", self._repo_of(id))
        await self._carry_out(self._requests.cancel(id))

    @method("job")
    async def Retry(self, id: "s") -> "o":
        """A new job for the revision of a live or recent one. Asks polkit for org.tinyci1.retry."""
        uid = await self._allowed("retry", self._repo_of(id))
        return path_of(await self._carry_out(self._requests.retry(id, _user(uid))))

    @method("job")
    async def Rollback(self, repo: "s") -> "o":
        """A new job that deploys what ran before the newest success again. Asks polkit for org.tinyci1.rollback."""
        uid = await self._allowed("rollback", repo)
        return path_of(await self._carry_out(self._requests.rollback(repo, "", _user(uid))))

    @method("job")
    async def RollbackTo(self, id: "s") -> "o":
        """A new job that deploys again what that successful, live or recent job deployed. Asks polkit for
        org.tinyci1.rollback."""
        repo = self._repo_of(id)
        uid = await self._allowed("rollback", repo)
        return path_of(await self._carry_out(self._requests.rollback(repo, id, _user(uid))))

    @method()
    async def Pause(self):  # type: ignore[no-untyped-def]
        """Begin no job until Resume(), also after a restart; running ones go on. Asks polkit for org.tinyci1.pause."""
        await self._allowed("pause", "")
        await self._carry_out(self._requests.pause(True))
        self.emit_properties_changed({"Paused": True})

    @method()
    async def Resume(self):  # type: ignore[no-untyped-def]
        """Begin jobs again. Asks polkit for org.tinyci1.pause."""
        await self._allowed("pause", "")
        await self._carry_out(self._requests.pause(False))
        self.emit_properties_changed({"Paused": False})

    @method("checks")
    async def Diagnose(self, repo: "s") -> "a(sbs)":
        """What the daemon sees of what a repo's deploys need, or with an empty name all deploys: name of the check,
        whether it holds, and a sentence. `tinyci doctor` sees more. Open to everyone; org.tinyci1.Error.NoSuchRepo.
        """
        if self._diagnosis is None:
            return []
        return [list(row) for row in await self._carry_out(self._diagnosis.of(repo, self.bus))]

    def repos_changed(self) -> None:
        self.emit_properties_changed({"Repos": list(self._repos())})

    def _repo_of(self, job_id: str) -> str:
        if job_id not in self._jobs:
            raise DBusReply(f"{NAME}.Error.NoSuchJob", f"no live or recent job has the id {job_id!r}")
        return self._jobs[job_id].fields.get("repo", "")

    async def _allowed(self, verb: str, repo: str) -> int:
        """The uid of the caller, who may do that. Raises DBusReply."""
        who, bus = caller(), self.bus
        if bus is None:
            raise DBusReply(f"{NAME}.Error.ShuttingDown", "tinyci is not on the bus now; ask again")
        await polkit.check(bus, who, f"{NAME}.{verb}", repo)
        try:
            return await bus.user_of(who.name)
        except (BusError, BusGone) as error:
            raise DBusReply("org.freedesktop.DBus.Error.AccessDenied", f"who asks is not known: {error}") from None

    async def _carry_out(self, request: Awaitable[T]) -> T:
        try:
            return await request
        except RequestError as error:
            raise DBusReply(f"{NAME}.Error.{error.name}", str(error)) from None

    @signal
    def JobNew(self, id: str, job: str) -> "so":
        return [id, job]

    @signal
    def JobRemoved(self, id: str, job: str, state: str) -> "sos":
        """A job has ended in that state; its object stays for a while."""
        return [id, job, state]

    @prop("const")
    def Version(self) -> "s":
        return __version__

    @prop("false")
    def Queued(self) -> "u":
        return sum(job.fields.get("state") == "queued" for job in self._jobs.values())

    @prop("false")
    def Running(self) -> "u":
        return sum(job.fields.get("state") not in ("queued", *FINAL) for job in self._jobs.values())

    @prop("true")
    def Paused(self) -> "b":
        return self._requests.paused

    @prop("true")
    def Repos(self) -> "as":
        return list(self._repos())


class Api:
    """The objects, kept on the bus whatever becomes of a connection."""

    def __init__(
        self, repos: Callable[[], Sequence[str]], requests: Requests, diagnosis: "Diagnosis | None" = None
    ) -> None:
        self._jobs: OrderedDict[str, JobObject] = OrderedDict()
        self._manager = ManagerObject(self._jobs, repos, requests, diagnosis)
        self._bus: Bus | None = None

    async def connect(self) -> None:
        """Own the name with everything exported. Raises BusGone or BusError."""
        bus = await Bus.connect()
        try:
            bus.remember_callers()
            bus.export(PATH, self._manager)
            for job_id, job in self._jobs.items():
                bus.export(path_of(job_id), job)
            await bus.own(NAME)
        except (BusGone, BusError):
            await bus.close()
            raise
        self._bus = self._manager.bus = bus

    async def keep(self, on_lost: Callable[[str], None]) -> None:
        """Connect again whenever the connection is lost; `on_lost` hears of each time."""
        while True:
            assert self._bus
            await self._bus.gone()
            on_lost("the connection to the system bus was lost")
            await self._bus.close()
            self._bus = self._manager.bus = None
            tries = 0
            while self._bus is None:
                # A bus that comes back tells nobody who is not connected.
                await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
                tries += 1
                try:
                    await self.connect()
                except (BusGone, BusError) as error:
                    on_lost(str(error))

    async def close(self) -> None:
        if self._bus:
            await self._bus.close()

    def repos_changed(self) -> None:
        """The configuration was read again."""
        self._manager.repos_changed()

    def add(self, job_id: str, fields: Mapping[str, str], announce: bool = True) -> None:
        """Put a job on the bus, and forget the oldest ended ones beyond EXPORTED. What is no id makes no object."""
        if not is_id(job_id):
            return
        if job_id in self._jobs:
            self.change(job_id, fields)
            return
        job = JobObject({"state": "queued", **fields, "id": job_id})
        self._jobs[job_id] = job
        if self._bus:
            self._bus.export(path_of(job_id), job)
        if announce:
            self._manager.JobNew(job_id, path_of(job_id))
        ended = [each for each, job in self._jobs.items() if job.fields.get("state") in FINAL]
        for each in ended[: max(0, len(ended) - EXPORTED)]:
            del self._jobs[each]
            if self._bus:
                self._bus.unexport(path_of(each))

    def change(self, job_id: str, fields: Mapping[str, str]) -> None:
        """Fields of a job were written; its end is a JobRemoved."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        job.change(fields)
        if fields.get("state") in FINAL:
            self._manager.JobRemoved(job_id, path_of(job_id), fields["state"])
