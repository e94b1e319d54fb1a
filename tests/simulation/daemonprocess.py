"""One life of the daemon in the simulated world: everything of it is real but what is outside its process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fakebus import FakeBus
from fakeredis import FakeStore
from hostmodel import HostModel
from tinyci.daemon.dispatch import Dispatch
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.requests import RequestHandler
from tinyci.model.repos import Repos
from tinyci.model.settings import Settings
from tinyci.model.stagecontract import tip_line
from tinyci.systemd.journal import Lines
from tinyci.systemd.manager import Manager, ManagerGoneError
from tinyci.systemd.managers import Managers
from virtualloop import HangsError


class KilledError(BaseException):
    """What a process meets that is dead and would touch the world."""


class DaemonProcess:
    """From its start to its end. `at_end`: whatever it does after that reaches nobody."""

    def __init__(self, world: HostModel, config: Settings, repos: Repos, number: int) -> None:
        self.world = world
        self.is_ready = False
        self._alive = True
        # Its way to the directories, which a dead one does not have any more.
        self._root = world.directory / f"life-{number}"
        self._root.symlink_to(world.directory, target_is_directory=True)
        store = FakeStore(world.memory, self._way, self._on_outage)
        self._managers = Managers(connect=self._connect)
        host = HostAccess(
            job_files=self._root / "run" / "jobs", spool=str(self._root / "spool"), lines=self._lines, time=world.time
        )
        self.dispatch = Dispatch(
            store,
            self._managers,
            config,
            repos,
            lambda *_: None,
            lambda: None,
            host,  # type: ignore[arg-type]
        )
        self.desk = RequestHandler(store, self.dispatch)  # type: ignore[arg-type]
        self._store = store
        self._main = world.loop.create_task(self._run())
        self._requests: list[asyncio.Task[object]] = []

    def ask(self, request: Callable[[RequestHandler], Awaitable[object]]) -> "asyncio.Task[object]":
        """As somebody asks over D-Bus."""

        async def answered() -> object:
            return await request(self.desk)

        task = self.world.loop.create_task(answered())
        self._requests.append(task)
        return task

    def asks(self) -> bool:
        """Whether somebody waits for an answer."""
        return not all(task.done() for task in self._requests)

    def check(self) -> None:
        """Raise what ended it, if anything did."""
        if self._main.done():
            self._main.result()
            raise AssertionError("the daemon has ended by itself")

    def terminate(self) -> None:
        """SIGTERM."""
        for task in (*self._requests, self._main):
            task.cancel()
        self.world.loop.until(self._main.done, 20.0, 0.1)
        self.kill()

    def kill(self) -> None:
        """SIGKILL. What its tasks do on their way out reaches nobody."""
        self._alive = False
        self._root.unlink()
        for manager in self.world.managers.values():
            manager.drop()
        tasks = (*self._requests, self._main)
        for task in tasks:
            task.cancel()
        for _ in range(1000):
            if all(task.done() for task in tasks):
                break
            self.world.loop.turn()
        else:
            raise HangsError("a cancelled task of the daemon does not end")
        for task in tasks:
            if not task.cancelled():
                task.exception()  # nobody has to look

    async def _run(self) -> None:
        """As Daemon does."""
        await self._store.ping()
        await self.dispatch.resume()
        self.is_ready = True
        try:
            await self.dispatch.run()
        finally:
            if self._alive:
                await self._managers.close()

    async def _way(self) -> None:
        for _ in range(1 + self.world.number()):
            await asyncio.sleep(0)
        if not self._alive:
            raise KilledError

    def _later(self, act: Callable[[], None]) -> None:
        self.world.later(lambda: act() if self._alive else None)

    def _on_outage(self, error: str | None) -> None:
        if error is None:
            self.dispatch.mark_stale()

    async def _connect(self, user: str) -> Manager:
        await self._way()
        manager = self.world.managers[user]
        if not manager.is_up or not manager.is_reachable:
            raise ManagerGoneError("nobody listens")
        return await Manager.on_bus(FakeBus(manager, self._way, self._later))  # type: ignore[arg-type]

    async def _said_last(self, unit: str, uid: int, since: float) -> list[str]:
        await asyncio.sleep(0)
        return [f"the last of {unit}"]

    def _lines(self, first: str, last: str, uid: int) -> Lines:
        return _Printed(self.world, first.split()[-1])  # type: ignore[return-value]


class _Printed:
    """As tinyci.journal.Lines: two lines of each build, the second one when it comes to its own end."""

    def __init__(self, world: HostModel, invocation: str) -> None:
        (self._run,) = (run for run in world.runs if run.invocation == invocation)

    async def follow(self, ended: asyncio.Event, patience: float) -> AsyncIterator[list[str]]:
        found = [tip_line(self._run.tip, self._run.revision)] if self._run.tip else []
        yield [*found, f"build of {self._run.revision}"]
        await ended.wait()
        if self._run.how in ("cut off", "stopped", "oom", "killed", ""):
            await asyncio.sleep(patience)
        else:
            yield [f"end: {self._run.how}"]
