"""A process of the daemon on the simulated host: real code, up to what is outside its process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fakebus import FakeBus
from fakeredis import FakeStore
from hostmodel import HostModel
from tinyci.daemon.dispatch import Dispatch
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.listener import Listener
from tinyci.daemon.requests import RequestHandler
from tinyci.model.repos import Repos
from tinyci.model.settings import Settings
from tinyci.model.stagecontract import tip_line
from tinyci.runtime.pace import Pace
from tinyci.systemd.buildoutput import BuildOutput
from tinyci.systemd.manager import Manager, ManagerGoneError
from tinyci.systemd.managers import Managers
from tinyci.systemd.unitjournal import UnitLine
from virtualloop import HangsError


class KilledError(BaseException):
    """Raised in tasks of a killed process, wherever they would reach anything outside it."""


class DaemonProcess(Listener):
    """The daemon from its start until it is killed; nothing that its tasks do after that has an effect."""

    def __init__(self, host: HostModel, config: Settings, repos: Repos, number: int) -> None:
        self.host = host
        self.is_ready = False
        self._alive = True
        # The process's own way to the directories, removed when it is killed.
        self._root = host.directory / f"daemon-{number}"
        self._root.symlink_to(host.directory, target_is_directory=True)
        store = FakeStore(host.redis, self._travel, self)
        self._managers = Managers(connect=self._connect)
        host_access = HostAccess(
            job_files=self._root / "run" / "jobs",
            spool=str(self._root / "spool"),
            build_output=self._build_output,
            last_lines=_no_lines,
            time=host.time,
            monotonic=host.loop.time,
            moment=host.moment,
        )
        self.dispatch = Dispatch(
            store,
            self._managers,
            config,
            repos,
            self,
            host_access,  # type: ignore[arg-type]
        )
        self.requests = RequestHandler(store, self.dispatch)  # type: ignore[arg-type]
        self._store = store
        self._main = host.loop.create_task(self._run())
        self._calls: list[asyncio.Task[object]] = []

    def call(self, request: Callable[[RequestHandler], Awaitable[object]]) -> "asyncio.Task[object]":
        """Make a request as a person does over D-Bus."""

        async def answer() -> object:
            return await request(self.requests)

        task = self.host.loop.create_task(answer())
        self._calls.append(task)
        return task

    def has_open_calls(self) -> bool:
        """Return whether a request has no answer yet."""
        return not all(task.done() for task in self._calls)

    def check(self) -> None:
        """Raise the error that ended the daemon, if any."""
        if self._main.done():
            self._main.result()
            raise AssertionError("the daemon has ended by itself")

    def terminate(self) -> None:
        """SIGTERM."""
        for task in (*self._calls, self._main):
            task.cancel()
        self.host.loop.run_until(self._main.done, 20.0, 0.1)
        self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        self._alive = False
        self._root.unlink()
        for manager in self.host.managers.values():
            manager.drop_connections()
        tasks = (*self._calls, self._main)
        for task in tasks:
            task.cancel()
        for _ in range(1000):
            if all(task.done() for task in tasks):
                break
            self.host.loop.turn()
        else:
            raise HangsError("a cancelled task of the daemon does not end")
        for task in tasks:
            if not task.cancelled():
                task.exception()  # so that asyncio does not report it

    async def _run(self) -> None:
        """Start and run as daemon.main does."""
        await self._store.ping()
        await self.dispatch.resume()
        self.is_ready = True
        try:
            await self.dispatch.run()
        finally:
            if self._alive:
                await self._managers.close()

    async def _travel(self) -> None:
        for _ in range(1 + self.host.next_number()):
            await asyncio.sleep(0)
        if not self._alive:
            raise KilledError

    def _schedule(self, act: Callable[[], None]) -> None:
        self.host.schedule(lambda: act() if self._alive else None)

    def redis_back(self) -> None:
        self.dispatch.mark_stale()

    async def _connect(self, user: str) -> Manager:
        await self._travel()
        manager = self.host.managers[user]
        if not manager.is_up or not manager.is_reachable:
            raise ManagerGoneError("nobody listens")
        return await Manager.on_bus(FakeBus(manager, self._travel, self._schedule))  # type: ignore[arg-type]

    def _build_output(self, first: str, last: str, uid: int) -> BuildOutput:
        return FakeBuildOutput(self.host, first.split()[-1])  # type: ignore[return-value]


async def _no_lines(unit: str, uid: int, main_pid: int, since: float) -> list[UnitLine]:
    """Read the journal of a unit that printed nothing."""
    return []


class FakeBuildOutput:
    """The journal's lines of a build: one at once, and another when the build ends by itself."""

    def __init__(self, host: HostModel, invocation: str) -> None:
        self._host = host
        self._invocation = invocation
        self.pace = Pace(1, 1)

    async def follow(self, unit_end: asyncio.Event, patience: float) -> AsyncIterator[list[str]]:
        while not (runs := [run for run in self._host.runs if run.invocation == self._invocation]):
            if unit_end.is_set():
                return
            await asyncio.sleep(0.01)  # it has not begun
        (run,) = runs
        first_lines = [tip_line(run.tip, run.revision)] if run.tip else []
        yield [*first_lines, f"build of {run.revision}"]
        await unit_end.wait()
        if run.result in ("cut off", "stopped", "oom", "killed", ""):
            await asyncio.sleep(patience)
        else:
            yield [f"end: {run.result}"]
