"""One job through its stages: build, restart, verify, and back when that failed.

Everything that must survive this process is in the job's hash or in systemd, so that a deploy can be taken up again
at any line: it asks what is, and goes on from there.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.output import Limits, Output
from tinyci.model import timespan
from tinyci.model.job import TIP, Job, State, check_step, is_revision, seconds
from tinyci.model.repo import Repo
from tinyci.stage.build import first_line, last_line, tip_line
from tinyci.store.writer import Store
from tinyci.systemd.appunits import AppUnits, RestartedByOthersError, UnitDownError
from tinyci.systemd.manager import Manager, ManagerError, Unit
from tinyci.systemd.managers import Managers, uid_of
from tinyci.systemd.stageunit import StageUnit, said, trouble, unknown

ATTEMPTS = 3
STAGES = ("build", "verify", "rollback")
_MARGIN = 30.0
"""Seconds beyond its own limit after which a stage is stopped that does not end by itself."""
_ROLLBACK_LIMIT = 300.0
"""Seconds that giving images their names again may take."""
_WATCHES = 3
"""How often the units are watched anew because somebody else restarted one meanwhile."""
UNIT_SAID = "[tinyci: what the unit said last]\n"


class Ended(Exception):
    """The job is over before its last stage, in that state, for that reason."""

    def __init__(self, state: State, reason: str, **fields: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.fields = fields


class AlreadyEnded(Exception):
    """The job's hash has a final state, which is written once."""


OnChange = Callable[[str, str, Mapping[str, str]], None]
"""Hears of fields of a job that were written: its id, its repo's name, the fields."""


class Deploy:
    """One job on its way."""

    def __init__(
        self,
        job: Job,
        repo: Repo,
        store: Store,
        managers: Managers,
        limits: Limits,
        on_change: OnChange,
        host: HostAccess,
        *,
        leftovers: Sequence[Job] = (),
        abandon_reason: str = "",
    ) -> None:
        """`leftovers`: ended jobs of the same repo and user whose stages may still run. `doom`: why nothing can
        become of a job that is on its way, or empty."""
        self.job = job
        self.repo = repo
        self._store = store
        self._managers = managers
        self._limits = limits
        self._on_change = on_change
        self._host = host
        self._leftovers = leftovers
        self._abandon_reason = abandon_reason
        self._output = Output(store, limits)
        self._units = AppUnits(repo, managers)
        self._remark = ""
        self._over = asyncio.Event()

    async def ended(self) -> State:
        """Await the final state."""
        await self._over.wait()
        return self.job.state

    async def cancel(self) -> bool:
        """Stop the build, so that the job ends as `cancelled`. False when it is past its build: a restart is not cut
        off in the middle."""
        if self.job.state not in (State.QUEUED, State.BUILDING):
            return bool(self.job.intent)
        with suppress(AlreadyEnded):
            await self._stop_build(State.CANCELLED)
        return True

    async def run(self) -> bool:
        """The whole deploy, from wherever the job stands to its final state. Idempotent. Returns False when something
        of it may be left: see clear_away()."""
        self._write_job_file()
        try:
            with suppress(AlreadyEnded):
                await self._finish(await self._abandon() if self._abandon_reason else await self._run_stages())
        finally:
            self._over.set()
        return await clear_away(self.job, self.repo.user, self._store, self._managers, self._host)

    async def _abandon(self) -> Ended:
        """Nothing is begun any more; and no other deploy either, while a restart that was issued goes on."""
        if name := self.job.restarting.partition(" ")[0]:
            with suppress(UnitDownError, ManagerError):
                await self._units.wait_idle(name)
        return Ended(State.FAILED, self._abandon_reason)

    async def _run_stages(self) -> Ended:
        """Through the stages in their order, and how that ended."""
        try:
            await self._clear_leftovers()
            await self._build()
            if self.job.state is not State.ROLLING_BACK:
                await self._restart()
                await self._verify()
                return Ended(State.SUCCEEDED, self._remark)
        except (Ended, UnitDownError, ManagerError) as error:
            failure = await self._failure(error)
            if failure.state is not State.FAILED or self.job.state not in (State.RESTARTING, State.VERIFYING):
                return failure
            # The first restart is done with, whatever came of it; what is issued from now on is the second.
            await self._enter(State.ROLLING_BACK, {**failure.fields, "failure": failure.reason, "restarting": ""})
            self.job = replace(self.job, failure=failure.reason, restarting="")
        return await self._run_rollback()

    async def _run_rollback(self) -> Ended:
        """To what ran before, and how that ended."""
        failure = self.job.failure
        try:
            # A restart that was issued since says that the images have their names again.
            if not self.job.restarting and (nothing := await self._roll_back()):
                return Ended(State.FAILED, f"{failure}; not rolled back: {nothing}")
            await self._restart()
            await self._verify()
        except (Ended, UnitDownError, ManagerError) as error:
            return Ended(State.FAILED, f"{failure}; the rollback failed too: {error}")
        return Ended(State.ROLLED_BACK, f"{failure}; rolled back to what ran before")

    async def _clear_leftovers(self) -> None:
        """Never two deploys of a repo at once, also when the one before was given up on with its manager away."""
        for job in self._leftovers:
            for stage in STAGES:
                await StageUnit(job.unit(stage), self.repo.user, self._managers).clear_or_raise()

    # -- build -------------------------------------------------------------------------------------------------

    async def _build(self) -> None:
        """The build, ended with success. Also when it had ended before we came: its output is read again."""
        name = self.job.unit("build")
        while True:
            unit = await self._managers.ask(self.repo.user, lambda manager: manager.unit(name))
            if unit.is_unknown:
                if self.job.intent:
                    break
                if self.job.state not in (State.QUEUED, State.BUILDING):
                    return  # built, and cleared away by a reboot since
                await self._begin(unit)
            unit = await self._await_build(name, is_begun=not unit.is_unknown)
            if not unit.is_unknown:
                break  # else it was cut off: another attempt
        if self.job.intent:
            await self._stage("build").stop()
            raise Ended(State(self.job.intent), self._reason_of_intent())
        if self.job.state is State.BUILDING and (why := trouble(unit)):  # else it was good, and is taken up again later
            state = State.TIMED_OUT if unit.result == "timeout" else State.FAILED
            exited = {"exit_status": str(unit.exit_status)} if unit.exit_code == 1 else {}
            raise Ended(State.REJECTED if said(unit, "rejected") else state, why, **exited)
        self._remark = said(unit, "remark")

    async def _await_build(self, name: str, is_begun: bool) -> Unit:
        """Start the build unit unless that was done already; record what it prints; return it when it is over."""
        built = asyncio.Event()
        begun: asyncio.Future[Unit] = asyncio.get_running_loop().create_future()

        def over(unit: Unit) -> bool:
            if unit.invocation_id and not begun.done():
                begun.set_result(unit)
            return unit.is_over

        async def build(manager: Manager) -> Unit:
            nonlocal is_begun
            unit = await manager.unit(name)
            if unit.is_unknown:
                if is_begun or self.job.intent:  # the manager that we asked is gone, and the build with it
                    return unit
                is_begun = True
                await manager.start(name)
            return await manager.wait_until(name, over)

        outcome: Unit | ManagerError
        async with asyncio.TaskGroup() as group:
            recorder = group.create_task(self._record(begun, built))
            clock = group.create_task(self._keep_time(begun))
            try:
                outcome = await self._managers.ask(self.repo.user, build)
            except ManagerError as error:
                outcome = error
            clock.cancel()
            built.set()
            if not begun.done():
                recorder.cancel()
        if isinstance(outcome, ManagerError):
            raise outcome
        return outcome

    async def _begin(self, unit: Unit) -> None:
        """One more attempt: the first, or the one after a reboot (or the end of the user's manager) cut one off."""
        if not unit.is_loaded:
            raise unknown(self.repo.user, unit.name)
        if self.job.attempt >= ATTEMPTS:
            raise Ended(State.FAILED, f"the build was cut off {ATTEMPTS} times, by a reboot or the end of its manager")
        attempt, started = self.job.attempt + 1, self._host.now()
        log_from = await self._store.logged(self.job.id)
        fields = {
            "attempt": str(attempt),
            "build_started": started,
            "unit": unit.name,
            "user": self.repo.user,
            "log_from": str(log_from),
            **({"started": started} if attempt == 1 else {}),
        }
        self._output = Output(self._store, self._limits)
        await self._enter(State.BUILDING, fields)
        self.job = replace(self.job, attempt=attempt, build_started=started, log_from=log_from)

    async def _record(self, begun: "asyncio.Future[Unit]", built: asyncio.Event) -> None:
        """The build's output as it comes: into the log of the job, and its tail for `output`."""
        invocation_id = (await begun).invocation_id
        await self._write({"invocation_id": invocation_id})
        lines = self._host.lines(first_line(invocation_id), last_line(invocation_id), uid_of(self.repo.user))
        await self._output.record(lines, built, self.job.id, self.job.log_from, self._hear_tip)

    async def _hear_tip(self, line: str) -> None:
        """The build's first line says what the ref is at, when the stage was to find that out."""
        revision = line.removeprefix(tip_line(self.job.ref, ""))
        if self.job.revision == TIP and is_revision(revision):
            await self._write({"revision": revision})
            self.job = replace(self.job, revision=revision)
            self._write_job_file()  # another attempt is of the same revision

    async def _keep_time(self, begun: "asyncio.Future[Unit]") -> None:
        """Stop the build when its time is up. That counts from its begin, however long it was in coming."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.repo.timeout):
                unit = await asyncio.shield(begun)
            await asyncio.sleep(unit.began + self.repo.timeout - self._host.time())
        await self._stop_build(State.TIMED_OUT)

    async def _stop_build(self, state: State) -> None:
        """Stop the build, and remember what for: of the unit itself systemd says only that it was killed."""
        if self.job.intent or self.job.state not in (State.QUEUED, State.BUILDING):
            return
        self.job = replace(self.job, intent=state)
        await self._write({"intent": state})
        await self._stage("build").stop()

    def _reason_of_intent(self) -> str:
        if self.job.intent == State.TIMED_OUT:
            return f"the build took longer than {timespan.show(self.repo.timeout)} (timeout) and was stopped"
        return "cancelled while it was building; the build was stopped"

    # -- restart -----------------------------------------------------------------------------------------------

    async def _restart(self) -> None:
        """Restart each unit in its order, and lift what depends on them and was up."""
        if self.job.state is State.VERIFYING:
            return
        if self.job.state is State.BUILDING:
            if not self.repo.units:
                return
            began, dependents = self._host.now(), await self._units.active_dependents()
            fields = {"restart_started": began, "dependents": " ".join(dependents)}
            await self._enter(State.RESTARTING, {"build_duration": self._host.since(self.job.build_started), **fields})
            self.job = replace(self.job, restart_started=began, dependents=tuple(dependents))
        issued, _, before = self.job.restarting.partition(" ")
        names = list(self.repo.units)
        if issued in names:
            names = names[names.index(issued) :]
        for name in names:
            await self._units.restart(
                name,
                before if name == issued else None,
                lambda invocation, name=name: self._write({"restarting": f"{name} {invocation}"}),  # type: ignore[misc]
            )
        for name in self.job.dependents:
            await self._units.start_dependent(name)
        if self.job.state is State.RESTARTING:
            await self._enter(State.VERIFYING, {"restart_duration": self._host.since(self.job.restart_started)})

    # -- verify ------------------------------------------------------------------------------------------------

    async def _verify(self) -> None:
        """The units stay up, and what runs in them is what was built, and well."""
        if not self.repo.units:
            return
        began = self._host.now()
        for turn in range(1, _WATCHES + 1):
            try:
                async with self._watched() as first:
                    await asyncio.sleep(self.repo.settle)
                    await self._check_what_runs(first)
                break
            except RestartedByOthersError as error:
                if turn == _WATCHES:
                    raise Ended(State.FAILED, f"{error}, {turn} times; who restarts it?") from None
        for name in self.job.dependents:
            await self._units.start_dependent(name)
        await self._write({"verify_duration": self._host.since(began)})

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[Mapping[str, str]]:
        """Every unit, by name with its InvocationID, stays up while the block runs; how it falls ends the block."""
        first = {name: await self._units.invocation(name) for name in self.repo.units}
        try:
            async with asyncio.TaskGroup() as group:
                watches = [group.create_task(self._units.watch(name, first[name])) for name in first]
                yield first
                for watch in watches:
                    watch.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await self._check_all(first)

    async def _check_all(self, first: Mapping[str, str]) -> None:
        """A last look at the units that are watched."""
        for name, invocation in first.items():
            await self._units.check(name, invocation)

    async def _check_what_runs(self, first: Mapping[str, str]) -> None:
        """The verify stage, as the repo's user: images, healthchecks, the health URL."""
        unit = await self._run_stage("verify", self.repo.verify_timeout + _MARGIN)
        if why := trouble(unit):
            await self._check_all(first)  # it says nothing of those if another invocation was there to be looked at
            raise Ended(State.FAILED, why)
        running = said(unit, "verified")
        await self._write({"image": running, "running_image": running})

    # -- roll back ---------------------------------------------------------------------------------------------

    async def _roll_back(self) -> str:
        """The rollback stage, as the repo's user: images have the names again that they had before. Returns why there
        are none."""
        await self._stage("verify").clear_or_raise()  # a unit fell meanwhile; two stages would write over each other
        unit = await self._run_stage("rollback", _ROLLBACK_LIMIT)
        nothing = said(unit, "nothing")
        if not nothing and (why := trouble(unit)):
            raise Ended(State.FAILED, why)
        return nothing

    # -- the end -----------------------------------------------------------------------------------------------

    async def _failure(self, error: Ended | UnitDownError | ManagerError) -> Ended:
        """How the job would end, with what the unit that is down said last."""
        if isinstance(error, Ended):
            return error
        if self.job.intent and self.job.state in (State.QUEUED, State.BUILDING):
            return Ended(State(self.job.intent), self._reason_of_intent())
        fields = {}
        if isinstance(error, UnitDownError):
            since = seconds(self.job.restart_started) or self._host.time()
            uid = 0 if self.repo.is_root else uid_of(self.repo.user)
            text = "".join(f"{line}\n" for line in await self._host.said_last(error.unit, uid, since))
            self.job = replace(self.job, unit_output=text)
            fields = {"unit_output": text}
        return Ended(State.FAILED, str(error), **fields)

    async def _finish(self, end: Ended) -> None:
        durations = {}
        if self.job.state is State.BUILDING:
            durations = {"build_duration": self._host.since(self.job.build_started)}
        unit_said = self.job.unit_output
        await self._enter(
            end.state,
            {
                **durations,
                **end.fields,
                "success": "true" if end.state is State.SUCCEEDED else "false",
                "reason": end.reason,
                "output": self._output.text() + (UNIT_SAID + unit_said if unit_said else ""),
                "finished": self._host.now(),
            },
        )

    # -- small things ------------------------------------------------------------------------------------------

    def _stage(self, stage: str) -> StageUnit:
        return StageUnit(self.job.unit(stage), self.repo.user, self._managers)

    async def _run_stage(self, stage: str, limit: float) -> Unit:
        """Run a stage that may run twice, and return its unit when it is over."""
        unit = self._stage(stage)
        try:
            async with asyncio.timeout(limit):
                return await unit.run()
        except TimeoutError:
            await unit.stop()
            raise Ended(
                State.FAILED, f"{unit.name} did not end within {timespan.show(limit)}, and was stopped"
            ) from None

    async def _enter(self, state: State, fields: Mapping[str, str]) -> None:
        check_step(self.job.state, state)
        self.job = replace(self.job, state=state)  # before the write: from now on cancel() is too late
        await self._write({"state": state, **fields})

    async def _write(self, fields: Mapping[str, str]) -> None:
        if not await self._store.update(self.job.id, fields):
            raise AlreadyEnded
        self._on_change(self.job.id, self.job.repo, fields)

    def _write_job_file(self) -> None:
        """For the stages: no secrets, and only what they may believe the daemon about."""
        self._host.jobs.mkdir(mode=0o755, exist_ok=True)
        path = self._host.jobs / f"{self.job.hex}.json"
        fields = {name: getattr(self.job, name) for name in ("id", "repo", "ref", "revision", "rollback_to")}
        new = path.with_suffix(".new")
        new.write_text(json.dumps(fields), encoding="utf-8")
        os.replace(new, path)


async def clear_away(job: Job, user: str, store: Store, managers: Managers, host: HostAccess) -> bool:
    """Leave nothing of an ended job in systemd, in /run or in `tinyci:accepted`. `user`: as in the repo's file.

    Returns False when the manager stays away: the job stays accepted until it is known that nothing of it runs.
    """
    if job.attempt:
        async with asyncio.TaskGroup() as group:  # at once: a manager that is away is waited for once
            units = [StageUnit(job.unit(stage), user, managers) for stage in STAGES]
            clearing = [group.create_task(unit.clear()) for unit in units]
        if not all(task.result() for task in clearing):
            return False
    (host.jobs / f"{job.hex}.json").unlink(missing_ok=True)
    await store.release(job.id)
    return True
