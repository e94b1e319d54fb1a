"""The daemon's side of a build: starts the unit once an attempt, records its output, limits its time, judges it."""

import asyncio
from contextlib import suppress

from tinyci.daemon.hostaccess import HostAccess
from tinyci.daemon.jobrecord import JobRecord
from tinyci.daemon.outcome import Outcome, StoppedError
from tinyci.daemon.output import Limits, Output
from tinyci.daemon.stopwatch import Stopwatch
from tinyci.model import timespan
from tinyci.model.job import TIP, is_revision
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict, first_line, last_line, tip_line
from tinyci.model.state import State
from tinyci.runtime.waiting import leaf_of
from tinyci.store.writer import StoreWriter
from tinyci.systemd.manager import Manager, ManagerError
from tinyci.systemd.managers import Managers
from tinyci.systemd.stageunit import StageUnit, failure_reason, verdict_sentence
from tinyci.systemd.unit import Unit
from tinyci.systemd.useraccount import uid_of

ATTEMPTS = 3
_STOP_PATIENCE = 90.0
"""Seconds that a build may take to end once it is stopped, its unit's STOP_LIMIT and a manager's absence included."""


class Build:
    """The build of one job. Methods raise StoppedError, ManagerError and AlreadyEndedError."""

    def __init__(
        self, record: JobRecord, repo: Repo, store: StoreWriter, managers: Managers, limits: Limits, host: HostAccess
    ) -> None:
        self._record = record
        self._repo = repo
        self._store = store
        self._managers = managers
        self._limits = limits
        self._host = host
        self._stopwatch = Stopwatch(host)
        self._unit = StageUnit("build", record.job, repo.user, managers)
        self._output = Output(store, limits)
        self.is_cut_off = False
        """True if the stage was killed, so that it could not put back what its script had changed."""
        self._deadline: asyncio.Timeout | None = None
        """The limit of waiting for the unit's end, infinite before the build is stopped; None while nothing waits."""

    @property
    def output(self) -> str:
        """The tail of its output."""
        return self._output.text()

    async def run(self) -> str:
        """Run the build to its success; return a remark on it, or empty. A build that ended before this process began
        is judged, and its output read again."""
        unit = await self._earlier_run()
        while unit is None or unit.is_unused:
            if self._record.job.state not in (State.QUEUED, State.BUILDING):
                return ""  # built, and cleared away by a reboot since
            await self._managers.get(self._repo.user)  # while there is none, the job waits, and nothing builds
            if outcome := self.stop_outcome():
                raise StoppedError(outcome)
            await self._begin()
            unit = await self._follow(has_begun=False)  # it is still unused when a reboot cut it off: another attempt
        self.is_cut_off = bool(unit.exit_code) and not unit.has_exited
        if outcome := self.stop_outcome():
            await self._unit.stop()
            raise StoppedError(outcome)
        if self._record.job.state is State.BUILDING and (reason := failure_reason(unit)):  # in later states it was good
            raise StoppedError(_failure(unit, reason))
        if self._record.job.state is State.BUILDING and (reason := verdict_sentence(unit, Verdict.UNCHANGED)):
            raise StoppedError(Outcome(State.UNCHANGED, reason))
        return verdict_sentence(unit, Verdict.REMARK)

    async def stop(self, state: State) -> None:
        """Stop the build, and remember the state to end in: systemd says of the unit only that it was killed."""
        if self._record.job.intent or self._record.job.state not in (State.QUEUED, State.BUILDING):
            return
        await self._record.write({"intent": state})
        if self._deadline:
            self._deadline.reschedule(asyncio.get_running_loop().time() + _STOP_PATIENCE)
        await self._unit.stop()

    def stop_outcome(self) -> Outcome | None:
        """Return the end of a job whose build was stopped; None when it was not, or when the job is past its build."""
        if self._record.job.state not in (State.QUEUED, State.BUILDING):
            return None
        match self._record.job.intent:
            case "":
                return None
            case State.TIMED_OUT:
                limit = timespan.show(self._repo.timeout)
                return Outcome(State.TIMED_OUT, f"the build took longer than {limit} (timeout) and was stopped")
            case intent:
                return Outcome(State(intent), f"{intent} while it was building; the build was stopped")

    def duration(self) -> dict[str, str]:
        """Return the field with the time that the build has taken."""
        return {"build_duration": self._stopwatch.duration(self._record.job.build_started)}

    async def _earlier_run(self) -> Unit | None:
        """Return the unit at the end of a build that an earlier process of the daemon has begun; None when there was
        none: a job is `building` before its unit is started."""
        return None if self._record.job.state is State.QUEUED else await self._follow(has_begun=True)

    async def _begin(self) -> None:
        """Begin the first attempt, or one after a reboot or the end of the user's manager cut one off."""
        job = self._record.job
        attempt, begin = job.attempt + 1, self._stopwatch.start()
        # A daemon that was killed before it had started the unit has cut nothing off.
        if attempt > ATTEMPTS and job.invocation_id:
            reason = f"the build was begun {job.attempt} times, and cut off by a reboot or the end of its manager"
            raise StoppedError(Outcome(State.FAILED, reason))
        line_count = await self._store.line_count(job.id)
        fields = {
            "attempt": str(attempt),
            "build_started": begin,
            "unit": self._unit.name,
            "user": self._repo.user,
            "log_from": str(line_count),
            **({"started": begin} if attempt == 1 else {"invocation_id": ""}),
        }
        self._output = Output(self._store, self._limits, line_count)
        await self._record.enter(State.BUILDING, fields)

    async def _follow(self, *, has_begun: bool) -> Unit | None:
        """Start the build unit unless it has begun; record its output; return it at its end. Returns None when the
        build was stopped before."""
        end = asyncio.Event()
        invocation: asyncio.Future[Unit] = asyncio.get_running_loop().create_future()

        def is_over(unit: Unit) -> bool:
            if unit.invocation_id and not invocation.done():
                invocation.set_result(unit)
            return unit.is_idle

        async def build(manager: Manager) -> Unit | None:
            nonlocal has_begun
            if not has_begun:
                if self._record.job.intent:
                    return None
                has_begun = True
                return await self._unit.start(manager, is_over)
            return await manager.wait_until(self._unit.name, is_over)  # unused when its manager ended, and it with that

        result: Unit | ManagerError | None
        try:
            async with asyncio.TaskGroup() as group:
                recorder = group.create_task(self._record_output(invocation, end))
                clock = group.create_task(self._stop_in_time(invocation))
                try:
                    async with asyncio.timeout(None) as self._deadline:
                        try:
                            result = await self._managers.ask(self._repo.user, build)
                        finally:
                            self._deadline = None  # a limit that is over cannot be changed any more
                except TimeoutError:  # it does not stop: the job ends, and its leftovers are cleared when they can be
                    result = ManagerError(f"{self._unit.name} does not stop")
                except ManagerError as error:
                    result = error
                clock.cancel()
                end.set()
                if not invocation.done():
                    recorder.cancel()
        except BaseExceptionGroup as errors:
            raise leaf_of(errors) from None
        if isinstance(result, ManagerError):
            raise result
        return result

    async def _record_output(self, invocation: "asyncio.Future[Unit]", end: asyncio.Event) -> None:
        """Record the output as it comes: in the log of the job, and its tail for `output`."""
        invocation_id = (await invocation).invocation_id
        await self._record.write({"invocation_id": invocation_id})
        lines = self._host.build_output(first_line(invocation_id), last_line(invocation_id), uid_of(self._repo.user))
        job = self._record.job
        try:
            record = self._output.record(lines, end, job.id, job.log_from, self._read_tip)
            await lines.pace.spent_on(record)
        except OSError as error:  # the build goes on without it
            self._output.add_note(f"the journal cannot be read: {error}")

    async def _read_tip(self, line: str) -> None:
        """Take the revision from the build's line, when the stage had to find it out."""
        job = self._record.job
        revision = line.removeprefix(tip_line(job.ref, ""))
        if job.revision == TIP and is_revision(revision):
            await self._record.write({"revision": revision})
            self._host.write_job_file(self._record.job)  # another attempt is of the same revision

    async def _stop_in_time(self, invocation: "asyncio.Future[Unit]") -> None:
        """Stop the build when its time is up, counted from its begin, or from now while it does not begin."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._repo.timeout):
                unit = await asyncio.shield(invocation)
            # A busy manager tells of the invocation before it has started anything. And what a manager says of the time
            # is not believed beyond the limit.
            begin = unit.start_time or self._host.monotonic()
            await asyncio.sleep(min(begin - self._host.monotonic(), 0.0) + self._repo.timeout)
        await self.stop(State.TIMED_OUT)


def _failure(unit: Unit, reason: str) -> Outcome:
    """Return the end of a job whose build unit ended without success."""
    fields = {"exit_status": str(unit.exit_status)} if unit.has_exited else {}
    if verdict_sentence(unit, Verdict.REJECTED):
        return Outcome(State.REJECTED, reason, fields)
    return Outcome(State.TIMED_OUT if unit.has_start_timed_out else State.FAILED, reason, fields)
