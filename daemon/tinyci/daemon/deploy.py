"""The deploy of one job: build, restart, verify, and roll back after a failure.

Everything that must survive this process is in the job's hash or in systemd, so that a deploy can be resumed at any
line: it looks at the state of things, and goes on from there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from tinyci.daemon import leftovers
from tinyci.daemon.build import Build
from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.jobrecord import JobRecord
from tinyci.daemon.listener import Listener
from tinyci.daemon.outcome import AlreadyEndedError, Outcome, StoppedError, failed
from tinyci.daemon.output import Limits
from tinyci.daemon.stopwatch import Stopwatch
from tinyci.model import retention, rollback, timespan
from tinyci.model.job import Job
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import ROLLBACK_LIMIT, STAGES, VERIFY_MARGIN, Verdict, parse_verified
from tinyci.model.state import State
from tinyci.store.writer import StoreWriter
from tinyci.systemd import obstacles, unitjournal
from tinyci.systemd.appunits import AppUnits, RestartedByOthersError, UnitDownError
from tinyci.systemd.manager import ManagerError
from tinyci.systemd.managers import Managers
from tinyci.systemd.obstacles import ObstacleError
from tinyci.systemd.stageunit import StageUnit, failure_reason, verdict_sentence
from tinyci.systemd.unit import Unit
from tinyci.systemd.unitjournal import UnitLine
from tinyci.systemd.useraccount import uid_of

_WATCH_ATTEMPTS = 3
"""Number of times that the units are watched, when somebody else restarts one meanwhile."""
UNIT_SAID = "[tinyci: what the unit said last]\n"

_STAGE_ERRORS = (StoppedError, UnitDownError, ObstacleError, ManagerError)


class Deploy:
    """One job from its begin to its end."""

    def __init__(
        self,
        job: Job,
        repo: Repo,
        store: StoreWriter,
        managers: Managers,
        limits: Limits,
        listener: Listener,
        host: HostAccess,
        *,
        predecessors: Sequence[Job] = (),
        abandon_reason: str = "",
        on_build_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`predecessors`: ended jobs of the same repo and user whose stages may still run. `abandon_reason`: the reason
        why a job that is on its way cannot go on, or empty. `on_build_end` is called when the build has succeeded."""
        self.repo = repo
        self._record = JobRecord(job, store, listener)
        self._store = store
        self._managers = managers
        self._host = host
        self._stopwatch = Stopwatch(host)
        self._predecessors = predecessors
        self._abandon_reason = abandon_reason
        self._on_build_end = on_build_end
        self._build_stage = Build(self._record, repo, store, managers, limits, host)
        self._units = AppUnits(repo, managers)
        self._remark = self._verify_remark = ""
        self._begun_stages = {"build"} if job.state is State.QUEUED else set(STAGES)
        """The stages that may have left something in systemd; of a deploy that is resumed, any."""
        self._end = asyncio.Event()

    @property
    def job(self) -> Job:
        return self._record.job

    @property
    def touches_images(self) -> bool:
        """True if it builds, or is about to, images that units run."""
        return bool(self.repo.units) and self.job.state in (State.QUEUED, State.BUILDING)

    async def wait_for_end(self) -> State:
        """Wait for the end, and return the final state."""
        await self._end.wait()
        return self.job.state

    async def cancel(self) -> bool:
        """Stop the build, so that the job ends as `cancelled`. Returns False when the job is past its build: a restart
        is not cut off in the middle."""
        if self.job.state not in (State.QUEUED, State.BUILDING):
            return bool(self.job.intent)
        with suppress(AlreadyEndedError):
            await self._build_stage.stop(State.CANCELLED)
        return True

    async def run(self) -> bool:
        """Run the whole deploy, from the job's state to its final state. Idempotent. Returns False when something of it
        may be left: see leftovers.clear()."""
        self._host.write_job_file(self.job)
        try:
            with suppress(AlreadyEndedError):
                await self._finish(await (self._abandon() if self._abandon_reason else self._run_stages()))
        finally:
            self._end.set()
        stages = self._begun_stages
        return await leftovers.clear(self.job, self.repo.user, self._store, self._managers, self._host, stages)

    async def _run_stages(self) -> Outcome:
        """Go through the stages in their order."""
        try:
            for job in self._predecessors:
                await leftovers.stop_stages(job, self.repo.user, self._managers)
            if self.job.rollback_to == rollback.PREVIOUS:
                await self._choose_rollback()
            self._remark = await self._build_stage.run()
            if self.job.state is not State.ROLLING_BACK:
                await self._restart()
                await self._verify()
                return Outcome(State.SUCCEEDED, "; ".join(filter(None, (self._remark, self._verify_remark))))
        except _STAGE_ERRORS as error:
            if self.job.state is State.ROLLING_BACK:  # resumed in it, and stopped before it went on
                return Outcome(State.FAILED, f"{self.job.failure}; the rollback failed too: {error}")
            outcome = await self._outcome(error)
            if outcome.state is not State.FAILED or self.job.state not in (State.RESTARTING, State.VERIFYING):
                await self._put_back()
                return outcome
            # The first restart is over, whatever its result; restarts from now on are those of the rollback.
            await self._record.enter(
                State.ROLLING_BACK, {**outcome.fields, "failure": outcome.reason, "restarting": ""}
            )
        return await self._run_rollback()

    async def _choose_rollback(self) -> None:
        """Choose the job to go back to, by what runs now that the deploys before this one are over."""
        jobs = retention.in_push_order(await self._store.kept_jobs(), self._host.present())
        undone = rollback.undone_job(jobs, self.repo.name)
        if undone and (await self._store.job(undone.id)).get("finished", "") > self.job.created:
            reason = f"job {undone.id} has been rolled back since this was asked for: what ran before it runs again"
            raise StoppedError(Outcome(State.UNCHANGED, reason))
        previous = rollback.previous_job(jobs, self.repo.name)
        if previous is None:
            raise StoppedError(Outcome(State.REJECTED, rollback.missing_reason(self.repo.name)))
        target = await self._store.job(previous.id)
        # A rollback is named after the job that it went back to.
        fields = {"rollback_to": target.get("rollback_to") or previous.id}
        await self._record.write(fields | {name: target.get(name, "") for name in ("ref", "revision")})
        self._host.write_job_file(self.job)

    async def _run_rollback(self) -> Outcome:
        """Go back to the images that ran before."""
        failure = self.job.failure
        try:
            # After a restart of the rollback the images have their names again.
            if not self.job.restarting and (nothing := await self._restore_images()):
                return Outcome(State.FAILED, f"{failure}; not rolled back: {nothing}")
            await self._restart()
            await self._verify()
        except _STAGE_ERRORS as error:
            return Outcome(State.FAILED, f"{failure}; the rollback failed too: {error}")
        return Outcome(State.ROLLED_BACK, f"{failure}; rolled back to what ran before")

    async def _abandon(self) -> Outcome:
        """End the job without another step; not before a restart that goes on, so that no other deploy begins."""
        if name := self.job.restarting.partition(" ")[0]:
            with suppress(UnitDownError, ManagerError):
                await self._units.wait_idle(name)
        return Outcome(State.FAILED, self._abandon_reason)

    # -- restart -----------------------------------------------------------------------------------------------

    async def _restart(self) -> None:
        """Restart each unit in its order, and start the dependents that were up."""
        if self.job.state is State.VERIFYING:
            return
        if self.job.state is State.BUILDING:
            if not self.repo.units:
                return
            await obstacles.check(self.repo, self._managers)
            fields = {
                **self._build_stage.duration(),
                "restart_started": self._stopwatch.start(),
                "dependents": " ".join(await self._units.active_dependents()),
            }
            if outcome := self._build_stage.stop_outcome():  # cancelled while the manager answered
                raise StoppedError(outcome)
            await self._record.enter(State.RESTARTING, fields)
            self._on_build_end()
        unit_in_progress, _, invocation_before = self.job.restarting.partition(" ")
        names = list(self.repo.units)
        if unit_in_progress in names:
            names = names[names.index(unit_in_progress) :]
        for name in names:
            before = invocation_before if name == unit_in_progress else None
            await self._units.restart(name, before, partial(self._note_restart, name))
        for name in self.job.dependents:
            await self._units.start_dependent(name)
        if self.job.state is State.RESTARTING:
            await self._record.enter(
                State.VERIFYING, {"restart_duration": self._stopwatch.duration(self.job.restart_started)}
            )

    async def _note_restart(self, name: str, invocation: str) -> None:
        """Note the unit that is restarted, and the invocation that it had before."""
        await self._record.write({"restarting": f"{name} {invocation}"})

    # -- verify ------------------------------------------------------------------------------------------------

    async def _verify(self) -> None:
        """Check that the units stay up, and that their containers are of the new images and healthy."""
        if not self.repo.units:
            return
        begin = self._stopwatch.start()
        for attempt in range(1, _WATCH_ATTEMPTS + 1):
            try:
                async with self._watched_units() as invocations:
                    await self._check_what_runs(invocations)
                break
            except RestartedByOthersError as error:
                if attempt == _WATCH_ATTEMPTS:
                    raise failed(f"{error}, {attempt} times; who restarts it?") from None
        for name in self.job.dependents:
            await self._units.start_dependent(name)
        await self._record.write({"verify_duration": self._stopwatch.duration(begin)})

    @asynccontextmanager
    async def _watched_units(self) -> AsyncIterator[Mapping[str, str]]:
        """Watch all units while the block runs; one that falls ends the block. Yields their InvocationIDs by name."""
        invocations = {name: await self._units.invocation(name) for name in self.repo.units}
        try:
            async with asyncio.TaskGroup() as group:
                watches = [group.create_task(self._units.watch(name, invocations[name])) for name in invocations]
                yield invocations
                for watch in watches:
                    watch.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await self._check_all(invocations)

    async def _check_all(self, invocations: Mapping[str, str]) -> None:
        """Look at the watched units once more."""
        for name, invocation in invocations.items():
            await self._units.check(name, invocation)

    async def _check_what_runs(self, invocations: Mapping[str, str]) -> None:
        """Let the units stay up for the settle time, and run the verify stage meanwhile and until it is content, as
        the repo's user: images, healthchecks, the health URL."""
        loop = asyncio.get_running_loop()
        settled = loop.time() + self.repo.settle
        unit = await self._run_stage("verify", self.repo.settle + self.repo.verify_timeout + VERIFY_MARGIN)
        if reason := failure_reason(unit):
            await self._check_all(invocations)  # if one was restarted, the stage looked at another invocation
            raise failed(reason)
        await asyncio.sleep(settled - loop.time())  # nobody's stage can cut it short
        images, remark = parse_verified(verdict_sentence(unit, Verdict.VERIFIED))
        self._verify_remark = remark
        await self._record.write({"image": images, "running_image": images})

    # -- roll back ---------------------------------------------------------------------------------------------

    async def _restore_images(self) -> str:
        """Run the rollback stage, as the repo's user: give images the names again that they had before. Returns the
        reason why there are none, or empty."""
        # The verify stage may still run when a unit fell; two stages would write over each other.
        if "verify" in self._begun_stages:
            await self._stage("verify").clear_or_raise()
        unit = await self._run_stage("rollback", ROLLBACK_LIMIT)
        nothing = verdict_sentence(unit, Verdict.NOTHING)
        if not nothing and (reason := failure_reason(unit)):
            raise failed(reason)
        return nothing

    async def _put_back(self) -> None:
        """Give images the names again that a build which was killed took from them: what was not deployed must not run
        after the next crash or reboot. A build that ends by itself does that itself."""
        if self.repo.units and self._build_stage.is_cut_off:
            with suppress(*_STAGE_ERRORS):
                await self._restore_images()

    # -- the end -----------------------------------------------------------------------------------------------

    async def _outcome(self, error: Exception) -> Outcome:
        """Return the end of the job after this error, with the last lines of the units that it is about."""
        if isinstance(error, StoppedError) and self.job.state is State.VERIFYING:
            lines = [line for name in self.repo.units for line in await self._last_lines(name)]
            return error.outcome._replace(fields={**error.outcome.fields, **await self._log_lines(lines)})
        if isinstance(error, StoppedError):
            return error.outcome
        if self.job.state in (State.QUEUED, State.BUILDING) and (stop_outcome := self._build_stage.stop_outcome()):
            return stop_outcome
        unit = error.unit if isinstance(error, UnitDownError | ObstacleError) else ""
        if not unit:
            return Outcome(State.FAILED, str(error))
        lines = await self._last_lines(unit, is_of_this_job=isinstance(error, UnitDownError))
        return Outcome(State.FAILED, f"{error}{unitjournal.last_words(unit, lines)}", await self._log_lines(lines))

    async def _last_lines(self, unit: str, *, is_of_this_job: bool = True) -> list[UnitLine]:
        """Return the last lines of a unit since the restart of this job, or of any time."""
        age = self._stopwatch.seconds(self.job.restart_started) or 0.0
        uid = 0 if self.repo.is_root else uid_of(self.repo.user)
        main_pid = 0
        with suppress(ManagerError):
            main_pid = (await self._managers.ask(self.repo.user, lambda manager: manager.unit(unit))).main_pid
        try:
            return await self._host.last_lines(unit, uid, main_pid, age if is_of_this_job else self._host.monotonic())
        except OSError as error:
            return [UnitLine(f"[tinyci: the journal cannot be read: {error}]", is_own=False)]

    async def _log_lines(self, lines: Sequence[UnitLine]) -> dict[str, str]:
        """Add the lines of units to the job's log, where people are looking; return the field that has them."""
        if not lines:
            return {}
        texts = [line.text for line in lines]
        first = await self._store.line_count(self.job.id) + 1
        await self._store.add_lines(self.job.id, first, [UNIT_SAID.rstrip(), *texts])
        return {"unit_output": "".join(f"{text}\n" for text in texts)}

    async def _finish(self, outcome: Outcome) -> None:
        durations = self._build_stage.duration() if self.job.state is State.BUILDING else {}
        unit_output = outcome.fields.get("unit_output", self.job.unit_output)
        fields = {
            **durations,
            **outcome.fields,
            "success": "true" if outcome.state in (State.SUCCEEDED, State.UNCHANGED) else "false",
            "reason": outcome.reason,
            "output": self._build_stage.output + (UNIT_SAID + unit_output if unit_output else ""),
            "finished": self._host.now(),
        }
        await self._record.enter(outcome.state, fields)

    # -- stages ------------------------------------------------------------------------------------------------

    def _stage(self, stage: str) -> StageUnit:
        return StageUnit(stage, self.job, self.repo.user, self._managers)

    async def _run_stage(self, stage: str, limit: float) -> Unit:
        """Run a stage that may run twice, and return its unit at its end."""
        unit = self._stage(stage)
        try:
            async with asyncio.timeout(limit):
                if stage in self._begun_stages:
                    await unit.clear()
                self._begun_stages.add(stage)
                return await unit.run()
        except TimeoutError:
            await unit.stop()
            raise failed(f"{unit.name} did not end within {timespan.show(limit)}, and was stopped") from None
