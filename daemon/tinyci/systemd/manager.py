"""A systemd manager, the system's or one user's: start, stop and restart units, and await the end of that.

Source: org.freedesktop.systemd1(5). At the other end of a user's bus may be any program of that user: its replies count
for that user's jobs alone, and every call has its limit.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from tinyci.dbus import names
from tinyci.dbus.bus import SYSTEM_BUS, Bus, BusError, BusGoneError
from tinyci.model import gate
from tinyci.runtime.username import name_of
from tinyci.runtime.waiting import first_of
from tinyci.systemd import replies
from tinyci.systemd.replies import NonsenseError
from tinyci.systemd.unit import PROPERTIES, Unit, path_of
from tinyci.systemd.unitwatch import UnitWatch

_NAME, _PATH, _MANAGER = names.SYSTEMD
T = TypeVar("T")

_JOB_RULE = f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='JobRemoved'"
_CHANGE_RULE = f"type='signal',sender='{_NAME}',interface='{names.PROPERTIES}',path='{{}}'"
_RESULTS_MAX = 1024
_LOOK_AGAIN = 30.0
"""Seconds after which a signal is no longer relied upon: a manager that was re-executed may have lost one."""

_SHUTDOWN_LIMIT = 300.0
"""Seconds that a shutdown of the manager is awaited; a manager that says so for longer lies, or hangs."""

# The manager, or polkit behind it, went away before it answered.
_NO_ANSWER = {
    names.NO_REPLY,
    names.TIMED_OUT,
    names.TIMEOUT,
    names.DISCONNECTED,
    names.SERVICE_UNKNOWN,
    names.NAME_HAS_NO_OWNER,
}
_DESTRUCTIVE = f"{_NAME}.TransactionIsDestructive"
_NO_SUCH_UNIT = f"{_NAME}.NoSuchUnit"


class ManagerError(Exception):
    """A refusal of the manager, as one sentence, with the command that mends it where that is known."""


class ManagerDownError(ManagerError):
    """The manager does not run, nor does anything that it had started. One sentence, with the command that mends it."""


class NoSuchUnitError(ManagerError):
    """The manager has no unit of that name, or has not loaded it."""


class ManagerGoneError(Exception):
    """The manager cannot be reached now; the last call may or may not have been carried out."""


class Manager:
    """One connection to one manager. Once it is lost, it stays so: make a new one."""

    def __init__(self, bus: Bus, title: str) -> None:
        """`title`: begins the sentences of errors."""
        self._bus = bus
        self._title = title
        # By the object path of a job: the result of each that has ended, the newest last, and those who wait for it.
        self._results: OrderedDict[str, str] = OrderedDict()
        self._waiters: dict[str, list[asyncio.Future[str]]] = {}
        # By the object path of a unit: those who wait for a change of it.
        self._watches: dict[str, list[UnitWatch]] = {}

    @classmethod
    async def system(cls) -> "Manager":
        """Connect to the system's manager over the system bus, where polkit decides. Raises ManagerGoneError."""
        return await cls._connect(SYSTEM_BUS, None, "the system's service manager")

    @classmethod
    async def of_user(cls, uid: int) -> "Manager":
        """Connect to a user's manager through its gate. Raises ManagerGoneError."""
        title = f"the service manager of {name_of(uid)}"
        return await cls._connect(f"unix:path={gate.socket_path(uid)}", uid, title)

    @classmethod
    async def _connect(cls, address: str, uid: int | None, title: str) -> "Manager":
        try:
            bus = await Bus.connect(address, uid, PROPERTIES)
        except BusGoneError as error:
            raise ManagerGoneError(str(error)) from None
        return await cls.on_bus(bus, title)

    @classmethod
    async def on_bus(cls, bus: Bus, title: str = "the manager") -> "Manager":
        """Use the manager at the other end of a connection, and close that on failure. Raises ManagerGoneError."""
        manager = cls(bus, title)
        try:
            await bus.listen(_NAME, manager._handle_signal)
            await manager._call("Subscribe")
        except ManagerError as error:
            if "AlreadySubscribed" not in str(error):
                await bus.close()
                raise ManagerGoneError(str(error)) from None
        except (BusGoneError, BusError, ManagerGoneError) as error:
            await bus.close()
            raise ManagerGoneError(str(error)) from None
        except BaseException:  # our caller does not wait any longer
            await bus.close()
            raise
        return manager

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def close(self) -> None:
        await self._bus.close()

    async def start(self, unit: str) -> str:
        """Queue a start that fails rather than replace another job of the unit. Returns the job's path.

        Raises NoSuchUnitError.
        """
        return self._parse(replies.path, await self._call("StartUnit", "ss", unit, "fail"))

    async def restart(self, unit: str) -> str:
        """Restart a unit, and return the result of that job as wait_for_job() does."""
        # Asked for before the call: a job's end may be dispatched before the caller has seen the path of the job.
        async with self._signals(_JOB_RULE):
            reply = await self._call_on_listed_unit(unit, "RestartUnit", "ss", unit, "replace")
            return await self._result(unit, self._parse(replies.path, reply))

    async def stop(self, unit: str) -> str:
        """Stop a unit, and return the result of that job as wait_for_job() does; `done` for one that does not run.

        Raises NoSuchUnitError.
        """
        async with self._signals(_JOB_RULE):
            reply = await self._call("StopUnit", "ss", unit, "replace")
            return await self._result(unit, self._parse(replies.path, reply))

    async def reset_failed(self, unit: str) -> None:
        """Clear `failed` and the start counter of a unit; do nothing when it is not loaded."""
        with suppress(NoSuchUnitError):
            await self._call_on_listed_unit(unit, "ResetFailedUnit", "s", unit)

    async def unit(self, name: str) -> Unit:
        """Return the state of a unit; one that does not exist has the load state `not-found`."""
        return await self._read(name, await self._load(name))

    async def _load(self, name: str) -> str:
        """Return the path of the object of a unit, which is the same for all its names."""
        return self._parse(replies.path, await self._call("LoadUnit", "s", name))

    async def _read(self, name: str, path: str) -> Unit:
        return self._unit_of(name, path, await self._all_properties(name, path))

    async def _all_properties(self, name: str, path: str) -> dict[str, Any]:
        properties = await self._properties(path, replies.UNIT)
        if name.endswith(".service"):
            properties |= await self._properties(path, replies.SERVICE)
        return properties

    def _unit_of(self, name: str, path: str, properties: Mapping[str, Any]) -> Unit:
        return self._parse(lambda values: Unit.parse(name, path, values), properties)

    async def wait_for_job(self, name: str, job: str) -> str:
        """Await the end of a job of that unit: `done`, `canceled`, `timeout`, `failed`, `dependency`, `skipped`.

        Raises ManagerGoneError, also when the job ended so because the manager shuts down.
        """
        async with self._signals(_JOB_RULE):
            unit = await self.unit(name)  # it may have ended before its signal was asked for
            return await self._result(name, job) if unit.job == job else await self._checked(_end_of(unit))

    async def _result(self, name: str, job: str) -> str:
        """wait_for_job() for a job whose signal was asked for before it was queued."""
        return await self._checked(await self._signalled_result(name, job))

    async def _checked(self, result: str) -> str:
        if result != "done":
            await self._raise_if_stopping()
        return result

    async def _signalled_result(self, name: str, job: str) -> str:
        while True:
            if job in self._results:
                return self._results[job]
            waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(job, []).append(waiter)  # several: two restarts of one unit are one job
            try:
                first = await first_of(waiter, self._bus.wait_closed(), timeout=_LOOK_AGAIN)
            finally:
                self._waiters[job].remove(waiter)
                if not self._waiters[job]:
                    del self._waiters[job]
            if first is waiter:
                return waiter.result()
            if not self._bus.connected:
                raise ManagerGoneError("the connection to the manager was lost")
            unit = await self.unit(name)
            if unit.job != job and job not in self._results:
                return _end_of(unit)

    async def wait_until(self, name: str, condition: Callable[[Unit], bool]) -> Unit:
        """Return the unit once condition() is true of it; that is tried at once and at every change.

        Raises ManagerGoneError, also when the unit went down because the manager shuts down.
        """
        path = await self._load(name)
        async with self._watch(name, path) as watch:
            return await self._wait_until(name, path, watch, condition)

    async def start_and_wait_until(self, name: str, condition: Callable[[Unit], bool]) -> Unit:
        """Start a unit as start() does, and return it as wait_until() does.

        A unit that comes up is not asked about: all that changes of it is signalled, and the unit has that alone. Of
        one that does not, nothing is believed but the answer to a question: a signal may be older than the start.
        """
        path = path_of(name)  # if it is an alias, its signals come from another one, and it is looked at now and then
        async with self._watch(name, path) as watch:
            watch.properties = {}
            await self.start(name)
            while True:
                await self._wait_for_news(watch)
                properties = watch.properties
                if properties is None:
                    break
                unit = self._unit_of(name, path, properties)
                if condition(unit):
                    if unit.is_up:
                        return unit
                    break
            watch.properties = None
            return await self._wait_until(name, path, watch, condition)

    async def _wait_until(self, name: str, path: str, watch: UnitWatch, condition: Callable[[Unit], bool]) -> Unit:
        while True:
            properties = watch.properties
            if properties is None:
                watch.news.clear()
                properties = await self._all_properties(name, path)
                if not watch.news.is_set():  # else they may be older than the news
                    watch.properties = properties
            unit = self._unit_of(name, path, properties)
            if condition(unit):
                if unit.active_state in ("deactivating", "inactive", "failed"):
                    await self._raise_if_stopping()
                return unit
            await self._wait_for_news(watch)

    async def _wait_for_news(self, watch: UnitWatch) -> None:
        """Await the next change of a unit, or for some time: then it is not known any more."""
        await first_of(watch.news.wait(), self._bus.wait_closed(), timeout=_LOOK_AGAIN)
        if not watch.news.is_set():
            watch.properties = None
        watch.news.clear()

    @asynccontextmanager
    async def _watch(self, name: str, path: str) -> AsyncIterator[UnitWatch]:
        """A watch that hears of each change of the unit."""
        watch = UnitWatch(name)
        self._watches.setdefault(path, []).append(watch)
        try:
            async with self._signals(_CHANGE_RULE.format(path)):
                yield watch
        finally:
            self._watches[path].remove(watch)
            if not self._watches[path]:
                del self._watches[path]

    @asynccontextmanager
    async def _signals(self, rule: str) -> AsyncIterator[None]:
        """Receive the signals of a match rule within the context: all others would wake the daemon for nothing.

        Raises ManagerError and ManagerGoneError.
        """
        try:
            async with self._bus.matching(rule):
                yield
        except BusError as error:
            raise ManagerError(f"the bus of {self._title} refuses to pass signals: {error} ({error.name})") from None
        except BusGoneError as error:
            raise ManagerGoneError(str(error)) from None

    async def _raise_if_stopping(self) -> None:
        """Return at once, unless the manager shuts down: then await its end, and raise ManagerGoneError.

        In a shutdown all units go down, which says nothing of them.
        """
        reply = await self._call_at(_PATH, names.PROPERTIES, "Get", "ss", _MANAGER, "SystemState")
        if self._parse(replies.variant_text, reply) == "stopping":
            if await first_of(self._bus.wait_closed(), timeout=_SHUTDOWN_LIMIT) is None:
                raise ManagerError(f"{self._title} has been shutting down for {_SHUTDOWN_LIMIT:g} s, and does not end")
            raise ManagerGoneError("the manager shuts down")

    async def _properties(self, path: str, interface: str) -> dict[str, Any]:
        return self._parse(replies.properties, await self._call_at(path, names.PROPERTIES, "GetAll", "s", interface))

    async def _call_on_listed_unit(self, unit: str, member: str, signature: str, *body: Any) -> list[Any]:
        """Make a call that polkit allows for listed units alone."""
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
            kind = NoSuchUnitError if error.name == _NO_SUCH_UNIT else ManagerError
            raise kind(f"{self._title} refuses {member}: {error} ({error.name})") from None
        except BusGoneError as error:
            raise ManagerGoneError(str(error)) from None

    def _parse(self, parse: Callable[[Any], T], reply: Any) -> T:
        """Return what a reply says. Raises ManagerError when it makes no sense."""
        try:
            return parse(reply)
        except NonsenseError as error:
            raise ManagerError(f"{self._title} gives answers that make no sense: {error}") from None

    def _handle_signal(self, path: str, interface: str, member: str, body: list[Any]) -> None:
        if interface == _MANAGER and member == "JobRemoved":
            try:
                job, result = replies.removed_job(body)
            except NonsenseError:
                return  # it has told nothing; who waits looks again by itself
            self._results[job] = result
            for waiter in self._waiters.get(job, ()):
                if not waiter.done():
                    waiter.set_result(result)
            while len(self._results) > _RESULTS_MAX:
                self._results.popitem(last=False)
        elif interface == names.PROPERTIES:
            for watch in self._watches.get(path, ()):
                watch.take(body)


def _end_of(unit: Unit) -> str:
    """Return the result of a job whose signal was missed, by what became of its unit."""
    return "done" if unit.is_up or unit.has_ended_well else unit.active_state
