"""A systemd manager, the system's or one user's: start, stop and restart units, and await what becomes of it.

Source: org.freedesktop.systemd1(5). Whoever is behind a user's bus is that user: replies are taken for that user's
jobs only, and every call has its limit.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tinyci.dbus import names
from tinyci.dbus.bus import SYSTEM_BUS, Bus, BusError, BusGoneError

_NAME, _PATH, _MANAGER = names.SYSTEMD
_UNIT = f"{_NAME}.Unit"
_SERVICE = f"{_NAME}.Service"
GATES = "/run/tinyci-gate"

_KEPT_RESULTS = 1024
_LOOK_AGAIN = 30.0
"""Seconds after which a signal is no longer relied upon: a manager that was re-executed may have lost one."""

# The manager, or polkit behind it, went away over the question.
_NO_ANSWER = {
    names.NO_REPLY,
    names.TIMED_OUT,
    names.TIMEOUT,
    names.DISCONNECTED,
    names.SERVICE_UNKNOWN,
    names.NAME_HAS_NO_OWNER,
}
_DESTRUCTIVE = f"{_NAME}.TransactionIsDestructive"


class ManagerError(Exception):
    """The manager refused; one sentence, with what mends it where that is known."""


class ManagerDownError(ManagerError):
    """The manager does not run, nor does anything that it had started; one sentence with what mends it."""


class ManagerGoneError(Exception):
    """The manager cannot be reached now; what was asked may or may not have happened."""


@dataclass(frozen=True)
class Unit:
    """What a manager says of a unit at one moment; names as in org.freedesktop.systemd1(5)."""

    name: str
    path: str
    load_state: str
    active_state: str
    sub_state: str
    job: str
    """Object path of the job that is queued or runs for it, `/` when there is none."""
    invocation_id: str
    """32 hexadecimal digits; empty when it never ran."""
    result: str
    exit_code: int
    """`si_code` of the main process: 1 exited, 2 killed, 3 dumped; 0 when there was none."""
    exit_status: int
    """Exit status, or the number of the signal."""
    restarts: int
    status_text: str
    """What the service last said with sd_notify(3) STATUS=."""
    dependents: tuple[str, ...]
    """Units with Requires=, BindsTo= or PartOf= on it: stopped when it stops, and not started again with it when its
    start failed in between."""
    began: float
    """When it last left `inactive`, in seconds since the epoch; 0 when it never did."""

    @property
    def is_loaded(self) -> bool:
        return self.load_state == "loaded"

    @property
    def is_over(self) -> bool:
        """Nothing of it runs, is about to run, or is being stopped."""
        return self.job == "/" and self.active_state not in ("activating", "deactivating", "reloading")

    @property
    def is_unknown(self) -> bool:
        """It did not run since its manager started, or what ran has been cleared away."""
        return self.active_state == "inactive" and self.job == "/" and not self.invocation_id


class Manager:
    """One connection to one manager. Lost for good when wait_closed() returns; connect() anew then."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._results: OrderedDict[str, str] = OrderedDict()
        self._waiters: dict[str, list[asyncio.Future[str]]] = {}
        self._changes: dict[str, list[asyncio.Event]] = {}

    @classmethod
    async def system(cls) -> "Manager":
        """The system's manager, over the system bus; polkit decides what is allowed. Raises ManagerGone."""
        return await cls._connect(SYSTEM_BUS, None)

    @classmethod
    async def of_user(cls, uid: int) -> "Manager":
        """A user's manager, through the gate. Raises ManagerGone."""
        return await cls._connect(f"unix:path={GATES}/{uid}/bus", uid)

    @classmethod
    async def _connect(cls, address: str, uid: int | None) -> "Manager":
        try:
            bus = await Bus.connect(address, uid)
        except BusGoneError as error:
            raise ManagerGoneError(str(error)) from None
        return await cls.on_bus(bus)

    @classmethod
    async def on_bus(cls, bus: Bus) -> "Manager":
        """The manager at the other end of a connection, which is closed when that fails. Raises ManagerGone."""
        manager = cls(bus)
        # Before any call: a job's end may be dispatched before the caller has seen the path of the job.
        bus.on_signal(manager._signal)
        try:
            await bus.match(f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='JobRemoved'")
            await bus.match(
                f"type='signal',sender='{_NAME}',interface='{names.PROPERTIES}',path_namespace='{_PATH}/unit'"
            )
            await manager._call("Subscribe")
        except ManagerError as error:
            if "AlreadySubscribed" not in str(error):
                await bus.close()
                raise ManagerGoneError(str(error)) from None
        except (BusGoneError, BusError, ManagerGoneError) as error:
            await bus.close()
            raise ManagerGoneError(str(error)) from None
        except BaseException:  # whoever waits for us has waited long enough
            await bus.close()
            raise
        return manager

    async def wait_closed(self) -> None:
        await self._bus.wait_closed()

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def close(self) -> None:
        await self._bus.close()

    async def start(self, unit: str) -> str:
        """Queue a start that fails rather than replace another job of the unit. Returns the job's path."""
        return str((await self._call("StartUnit", "ss", unit, "fail"))[0])

    async def restart(self, unit: str) -> str:
        """Queue a restart. Returns the job's path."""
        return str((await self._call_on_listed_unit(unit, "RestartUnit", "ss", unit, "replace"))[0])

    async def stop(self, unit: str) -> str:
        """Queue a stop. Returns the job's path."""
        return str((await self._call("StopUnit", "ss", unit, "replace"))[0])

    async def reset_failed(self, unit: str) -> None:
        """Clear `failed` and the start counter; nothing when the unit is not loaded."""
        try:
            await self._call_on_listed_unit(unit, "ResetFailedUnit", "s", unit)
        except ManagerError as error:
            if "NoSuchUnit" not in str(error):
                raise

    async def unit(self, name: str) -> Unit:
        """What the manager says of a unit; one that does not exist has the load state `not-found`."""
        path = str((await self._call("LoadUnit", "s", name))[0])
        common = await self._properties(path, _UNIT)
        service = await self._properties(path, _SERVICE) if name.endswith(".service") else {}
        job = common.get("Job", (0, "/"))
        return Unit(
            name=name,
            path=path,
            load_state=str(common.get("LoadState", "")),
            active_state=str(common.get("ActiveState", "")),
            sub_state=str(common.get("SubState", "")),
            job=str(job[1]) if len(job) == 2 else "/",
            invocation_id=bytes(common.get("InvocationID", b"")).hex(),
            result=str(service.get("Result", "")),
            exit_code=int(service.get("ExecMainCode", 0)),
            exit_status=int(service.get("ExecMainStatus", 0)),
            restarts=int(service.get("NRestarts", 0)),
            status_text=str(service.get("StatusText", "")),
            dependents=tuple(
                str(each) for key in ("RequiredBy", "BoundBy", "ConsistsOf") for each in common.get(key, ())
            ),
            began=int(common.get("InactiveExitTimestamp", 0)) / 1_000_000,
        )

    async def wait_for_job(self, name: str, job: str) -> str:
        """Await the end of a job of that unit: `done`, `canceled`, `timeout`, `failed`, `dependency`, `skipped`, …

        Raises ManagerGone, also when the job ended so because the manager shuts down.
        """
        result = await self._result(name, job)
        if result != "done":
            await self._raise_if_stopping()
        return result

    async def _result(self, name: str, job: str) -> str:
        while True:
            if job in self._results:
                return self._results[job]
            waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(job, []).append(waiter)  # several: two restarts of one unit are one job
            lost = asyncio.ensure_future(self._bus.wait_closed())
            try:
                await asyncio.wait((waiter, lost), timeout=_LOOK_AGAIN, return_when=asyncio.FIRST_COMPLETED)
            finally:
                lost.cancel()
                self._waiters[job].remove(waiter)
                if not self._waiters[job]:
                    del self._waiters[job]
            if waiter.done():
                return waiter.result()
            if not self._bus.connected:
                raise ManagerGoneError("the connection to the manager was lost")
            unit = await self.unit(name)
            if unit.job != job and job not in self._results:
                return "done" if unit.active_state == "active" else unit.active_state

    async def wait_until(self, name: str, is_so: Callable[[Unit], bool]) -> Unit:
        """Await that is_so() is true of the unit; it is asked at once and at every change.

        Raises ManagerGone, also when the unit went down because the manager shuts down.
        """
        unit = await self.unit(name)
        async with self._changes_of(unit.path) as changed:
            while True:
                changed.clear()
                unit = await self.unit(name)
                if is_so(unit):
                    if unit.active_state in ("deactivating", "inactive", "failed"):
                        await self._raise_if_stopping()
                    return unit
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN):
                        await changed.wait()

    @asynccontextmanager
    async def _changes_of(self, path: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set at each change of the unit's properties, and when the connection is lost."""
        event = asyncio.Event()
        self._changes.setdefault(path, []).append(event)
        lost = asyncio.ensure_future(self._bus.wait_closed())
        lost.add_done_callback(lambda _: event.set())
        try:
            yield event
        finally:
            lost.cancel()
            self._changes[path].remove(event)
            if not self._changes[path]:
                del self._changes[path]

    async def _raise_if_stopping(self) -> None:
        """Return at once, unless the manager shuts down: what it says of its units then tells nothing of them, so
        await its end, and raise ManagerGone."""
        state = (await self._call_at(_PATH, names.PROPERTIES, "Get", "ss", _MANAGER, "SystemState"))[0].value
        if state == "stopping":
            await self._bus.wait_closed()
            raise ManagerGoneError("the manager shuts down")

    async def _properties(self, path: str, interface: str) -> dict[str, Any]:
        values = (await self._call_at(path, names.PROPERTIES, "GetAll", "s", interface))[0]
        return {key: variant.value for key, variant in values.items()}

    async def _call_on_listed_unit(self, unit: str, member: str, signature: str, *body: Any) -> list[Any]:
        """A call that polkit allows for listed units alone."""
        try:
            return await self._call(member, signature, *body)
        except ManagerError as error:
            if "AuthorizationRequired" in str(error) or "AccessDenied" in str(error):
                raise ManagerError(
                    f"polkit does not let tinyci restart {unit}: add it to polkit.tinyciUnits, in a file such as "
                    "/etc/polkit-1/rules.d/40-tinyci-NAME.rules (the role app does it for its units)"
                ) from None
            raise

    async def _call(self, member: str, signature: str = "", *body: Any) -> list[Any]:
        return await self._call_at(_PATH, _MANAGER, member, signature, *body)

    async def _call_at(self, path: str, interface: str, member: str, signature: str, *body: Any) -> list[Any]:
        try:
            return await self._bus.call(_NAME, path, interface, member, signature, *body)
        except BusError as error:
            if error.name in _NO_ANSWER:
                raise ManagerGoneError(f"{member}: {error}") from None
            if error.name == _DESTRUCTIVE:  # nothing is started beside the jobs of a shutdown
                await self._raise_if_stopping()
            raise ManagerError(f"{member}: {error} ({error.name})") from None
        except BusGoneError as error:
            raise ManagerGoneError(str(error)) from None

    def _signal(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        if interface == _MANAGER and member == "JobRemoved":
            job, result = str(body[1]), str(body[3])
            self._results[job] = result
            for waiter in self._waiters.get(job, ()):
                if not waiter.done():
                    waiter.set_result(result)
            while len(self._results) > _KEPT_RESULTS:
                self._results.popitem(last=False)
        elif interface == names.PROPERTIES:
            for event in self._changes.get(path, ()):
                event.set()
