"""One job through its stages: build, restart, verify.

Everything that must survive this process is in the job's hash or in systemd, so that a deploy can be taken up again
at any line: it asks what is, and goes on from there.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tinyci import span
from tinyci.job import Job, State, check_step, now
from tinyci.journal import Lines
from tinyci.manager import Manager, ManagerError, Unit
from tinyci.managers import Managers, uid_of
from tinyci.output import Limits, Output
from tinyci.repo import Repo
from tinyci.stage.build import first_line, last_line
from tinyci.store import Store

ATTEMPTS = 3
STOP_LIMIT = 30.0
"""Seconds that stopping a build may take, more than TimeoutStopSec= of its unit."""
JOBS = Path("/run/tinyci/jobs")


class Ended(Exception):
    """The job is over before its last stage, in that state, for that reason."""

    def __init__(self, state: State, reason: str, **fields: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.fields = fields


class AlreadyEnded(Exception):
    """The job's hash has a final state, which is written once."""


Tell = Callable[[str, str, Mapping[str, str]], None]
"""Hears of fields of a job that were written: its id, its repo's name, the fields."""


class Deploy:
    """One job on its way."""

    def __init__(self, job: Job, repo: Repo, store: Store, managers: Managers, limits: Limits, tell: Tell) -> None:
        self.job = job
        self.repo = repo
        self._store = store
        self._managers = managers
        self._limits = limits
        self._tell = tell
        self._output = Output(store, limits)
        self._over = asyncio.Event()

    async def ended(self) -> State:
        """Await the final state."""
        await self._over.wait()
        return self.job.state

    async def run(self) -> None:
        """The whole deploy, from wherever the job stands to its final state. Idempotent."""
        end: Ended | None
        try:
            await self._build()
            await self._restart()
            await self._verify()
            end = Ended(State.SUCCEEDED, "")
        except Ended as ended:
            end = ended
        except ManagerError as error:
            end = Ended(State.FAILED, str(error))
        except AlreadyEnded:
            end = None
        try:
            with suppress(AlreadyEnded):
                if end:
                    await self._finish(end.state, end.reason, end.fields)
        finally:
            self._over.set()
        await clear_away(self.job, self.repo.user, self._store, self._managers)

    async def cancel(self) -> bool:
        """Stop the build, so that the job ends as `cancelled`. False when it is past its build: a restart is not cut
        off in the middle."""
        if self.job.state not in (State.QUEUED, State.BUILDING):
            return bool(self.job.intent)
        await self._intend(State.CANCELLED)
        return True

    # -- build -------------------------------------------------------------------------------------------------

    async def _build(self) -> None:
        """The build, ended with success. Also when it had ended before we came: its output is read again."""
        self._write_job_file()
        while True:
            unit = await self._managers.ask(self.repo.user, lambda manager: manager.unit(self.job.unit))
            if unit.is_unknown:
                if self.job.intent:
                    break
                if self.job.state not in (State.QUEUED, State.BUILDING):
                    return  # built, and cleared away by a reboot since
                await self._begin(unit)
            unit = await self._await_build()
            if not unit.is_unknown:
                break  # else it was cut off: another attempt
        if self.job.intent:
            await self._stop_build()
            raise Ended(State(self.job.intent), self._reason_of_intent())
        if self.job.state is State.BUILDING:  # else a later stage is taken up again, after a good build
            self._judge(unit)

    async def _await_build(self) -> Unit:
        """Start the build unit unless it runs or has run; record what it prints; return it when it is over."""
        built, invocation = asyncio.Event(), asyncio.get_running_loop().create_future()
        started = False

        def over(unit: Unit) -> bool:
            if unit.invocation_id and not invocation.done():
                invocation.set_result(unit.invocation_id)
            return unit.is_over

        async def build(manager: Manager) -> Unit:
            nonlocal started
            unit = await manager.unit(self.job.unit)
            if unit.is_unknown:
                if started or self.job.intent:  # the manager that we asked is gone, and the build with it
                    return unit
                started = True
                await manager.start(self.job.unit)
            return await manager.until(self.job.unit, over)

        outcome: Unit | ManagerError
        async with asyncio.TaskGroup() as group:
            recorder = group.create_task(self._record(invocation, built))
            clock = group.create_task(self._keep_time())
            try:
                outcome = await self._managers.ask(self.repo.user, build)
            except ManagerError as error:
                outcome = error
            clock.cancel()
            built.set()
            if not invocation.done():
                recorder.cancel()
        if isinstance(outcome, ManagerError):
            raise outcome
        return outcome

    async def _begin(self, unit: Unit) -> None:
        """One more attempt: the first, or the one after a reboot (or the end of the user's manager) cut one off."""
        if not unit.is_loaded:
            raise ManagerError(
                f"the manager of {self.repo.user} does not know {self.job.unit}: is tinyci installed, "
                "and was the manager told (daemon-reload)?"
            )
        if self.job.attempt >= ATTEMPTS:
            raise Ended(State.FAILED, f"the build was cut off {ATTEMPTS} times, by a reboot or the end of its manager")
        attempt, started = self.job.attempt + 1, now()
        log_from = await self._store.logged(self.job.id)
        fields = {
            "attempt": str(attempt),
            "build_started": started,
            "unit": self.job.unit,
            "user": self.repo.user,
            "log_from": str(log_from),
            **({"started": started} if attempt == 1 else {}),
        }
        self._output = Output(self._store, self._limits)
        await self._step(State.BUILDING, fields)
        self.job = replace(self.job, attempt=attempt, build_started=started, log_from=log_from)

    async def _keep_time(self) -> None:
        """Stop the build when its time is up."""
        await asyncio.sleep(self._left())
        await self._intend(State.TIMED_OUT)

    async def _intend(self, state: State) -> None:
        """Stop the build, and remember what for: of the unit itself systemd says only that it was killed."""
        if self.job.intent or self.job.state not in (State.QUEUED, State.BUILDING):
            return
        self.job = replace(self.job, intent=state)
        await self._note({"intent": state})
        await self._stop_build()

    def _reason_of_intent(self) -> str:
        if self.job.intent == State.TIMED_OUT:
            return f"the build took longer than {span.show(self.repo.timeout)} (timeout) and was stopped"
        return "cancelled while it was building; the build was stopped"

    async def _stop_build(self) -> None:
        async def stop(manager: Manager) -> None:
            unit = await manager.unit(self.job.unit)
            if not unit.is_over or unit.active_state == "active":
                await manager.result(self.job.unit, await manager.stop(self.job.unit))

        with suppress(ManagerError, TimeoutError):  # the state is decided; clear_away() sees to the unit once more
            async with asyncio.timeout(STOP_LIMIT):
                await self._managers.ask(self.repo.user, stop)

    def _left(self) -> float:
        """Seconds of the build's time that are left."""
        try:
            began = datetime.fromisoformat(self.job.build_started).timestamp()
        except ValueError:
            return self.repo.timeout
        return max(0.0, began + self.repo.timeout - time.time())

    def _judge(self, unit: Unit) -> None:
        """Raise Ended unless the build succeeded."""
        if unit.active_state == "active":
            return
        exited = {"exit_status": str(unit.exit_status)} if unit.exit_code == 1 else {}
        verdict, _, sentence = unit.status_text.partition(": ")
        if verdict == "rejected":
            raise Ended(State.REJECTED, sentence, **exited)
        if verdict == "failed":
            raise Ended(State.FAILED, sentence, **exited)
        if unit.result == "timeout":
            raise Ended(State.TIMED_OUT, f"the build was stopped by TimeoutStartSec= of {unit.name}")
        if unit.result == "oom-kill":
            raise Ended(State.FAILED, f"the build ran out of memory (MemoryMax= of {unit.name} or the host's)")
        if unit.active_state == "inactive":
            raise Ended(State.FAILED, f"{unit.name} was stopped by somebody")
        raise Ended(State.FAILED, f"the build ended with {unit.result}, status {unit.exit_status}", **exited)

    # -- output ------------------------------------------------------------------------------------------------

    async def _record(self, invocation: "asyncio.Future[str]", built: asyncio.Event) -> None:
        """The build's output as it comes: into the log of the job, and its tail for `output`."""
        invocation_id = await invocation
        await self._note({"invocation_id": invocation_id})
        lines = Lines(first_line(invocation_id), last_line(invocation_id), uid_of(self.repo.user))
        await self._output.record(lines, built, self.job.id, self.job.log_from)

    # -- restart -----------------------------------------------------------------------------------------------

    async def _restart(self) -> None:
        """Restart each unit in its order. One whose restart was issued already is looked at, not issued again."""
        if not self.repo.units or self.job.state is State.VERIFYING:
            return
        began = time.monotonic()
        issued, _, before = self.job.restarting.partition(" ")
        names = list(self.repo.units)
        if issued in names:
            names = names[names.index(issued) :]
        elif self.job.state is State.BUILDING:
            await self._step(State.RESTARTING, {"build_duration": self._since(self.job.build_started)})
        for name in names:
            await self._restart_one(name, before if name == issued else None)
        await self._step(State.VERIFYING, {"restart_duration": f"{time.monotonic() - began:.6f}"})

    async def _restart_one(self, name: str, before: str | None) -> None:
        """`before`: the InvocationID that the unit had when its restart was issued; None when it was not."""

        async def restart(manager: Manager) -> str:
            nonlocal before
            unit = await manager.unit(name)
            if not unit.is_loaded:
                raise ManagerError(
                    f"the manager of {self.repo.user} has no unit {name} ({unit.load_state}): "
                    "correct 'units' in the repo's file, or install the unit and daemon-reload"
                )
            if before is not None:
                if unit.job != "/":
                    return await manager.result(name, unit.job)
                if unit.invocation_id and unit.invocation_id != before:
                    return "done" if unit.active_state == "active" else unit.active_state
            before = unit.invocation_id
            await self._note({"restarting": f"{name} {before}"})
            await manager.reset_failed(name)  # quick pushes must not run into StartLimitBurst=
            return await manager.result(name, await manager.restart(name))

        try:
            async with asyncio.timeout(self.repo.restart_timeout):
                result = await self._managers.ask(self.repo.user, restart)
        except TimeoutError:
            limit = span.show(self.repo.restart_timeout)
            raise Ended(State.FAILED, f"the restart of {name} did not end within {limit} (restart_timeout)") from None
        if result != "done":
            unit = await self._managers.ask(self.repo.user, lambda manager: manager.unit(name))
            how = f"{result}, {unit.result}" if unit.result not in ("", "success") else result
            raise Ended(State.FAILED, f"the restart of {name} ended with {how}: {_journal_of(self.repo, name)}")

    # -- verify ------------------------------------------------------------------------------------------------

    async def _verify(self) -> None:
        """Every unit stays up through the settle window: active, the same invocation, not restarted by itself."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            checks = [group.create_task(self._settle(name)) for name in self.repo.units]
        for check in checks:
            if check.result():
                raise Ended(State.FAILED, check.result())
        if checks:
            await self._note({"verify_duration": f"{time.monotonic() - began:.6f}"})

    async def _settle(self, name: str) -> str:
        """An empty string, or why the unit is not up."""
        first = ""

        def is_down(unit: Unit) -> bool:
            nonlocal first
            first = first or unit.invocation_id
            return (unit.active_state, unit.invocation_id, unit.restarts) != ("active", first, 0)

        try:
            # Right after a reboot the unit may still be starting, and the window begins when it is up.
            async with asyncio.timeout(self.repo.restart_timeout):
                await self._managers.ask(self.repo.user, lambda manager: manager.until(name, lambda unit: unit.is_over))
        except TimeoutError:
            return f"{name} did not come up within {span.show(self.repo.restart_timeout)} (restart_timeout)"
        except ManagerError as error:
            return str(error)
        try:
            async with asyncio.timeout(self.repo.settle):
                unit = await self._managers.ask(self.repo.user, lambda manager: manager.until(name, is_down))
        except TimeoutError:  # it was up for so long; one last look
            try:
                unit = await self._managers.ask(self.repo.user, lambda manager: manager.unit(name))
            except ManagerError as error:
                return str(error)
            if not is_down(unit):
                return ""
        except ManagerError as error:
            return str(error)
        how = f"{unit.active_state} ({unit.sub_state}), restarted {unit.restarts} times"
        return f"{name} did not stay up after its restart: it is {how}: {_journal_of(self.repo, name)}"

    # -- the end -----------------------------------------------------------------------------------------------

    async def _finish(self, state: State, reason: str, fields: Mapping[str, str]) -> None:
        durations = {}
        if self.job.state is State.BUILDING:
            durations = {"build_duration": self._since(self.job.build_started)}
        await self._step(
            state,
            {
                **durations,
                **fields,
                "success": "true" if state is State.SUCCEEDED else "false",
                "reason": reason,
                "output": self._output.text(),
                "finished": now(),
            },
        )

    # -- small things ------------------------------------------------------------------------------------------

    async def _step(self, state: State, fields: Mapping[str, str]) -> None:
        check_step(self.job.state, state)
        self.job = replace(self.job, state=state)  # before the write: from now on cancel() is too late
        await self._note({"state": state, **fields})

    async def _note(self, fields: Mapping[str, str]) -> None:
        if not await self._store.update(self.job.id, fields):
            raise AlreadyEnded
        self._tell(self.job.id, self.job.repo, fields)

    def _since(self, time_: str) -> str:
        try:
            return f"{max(0.0, time.time() - datetime.fromisoformat(time_).timestamp()):.6f}"
        except ValueError:
            return ""

    def _write_job_file(self) -> None:
        """For the stages: no secrets, and only what they may believe the daemon about."""
        JOBS.mkdir(mode=0o755, exist_ok=True)
        path = JOBS / f"{self.job.hex}.json"
        text = json.dumps(
            {"id": self.job.id, "repo": self.job.repo, "ref": self.job.ref, "revision": self.job.revision}
        )
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)


async def clear_away(job: Job, user: str, store: Store, managers: Managers) -> None:
    """Leave nothing of an ended job in systemd, in /run or in `tinyci:accepted`. `user`: as in the repo's file."""

    async def stop(manager: Manager) -> None:
        unit = await manager.unit(job.unit)
        if not unit.is_over or unit.active_state == "active":
            await manager.result(job.unit, await manager.stop(job.unit))
        await manager.reset_failed(job.unit)

    # A manager that stays away has no units left, or its user's manager would keep them for itself to tidy.
    with suppress(ManagerError, TimeoutError):
        async with asyncio.timeout(STOP_LIMIT):
            await managers.ask(user, stop)
    (JOBS / f"{job.hex}.json").unlink(missing_ok=True)
    await store.release(job.id)


def _journal_of(repo: Repo, unit: str) -> str:
    """The command that shows what the unit said, to who may read it."""
    return f"journalctl -u {unit}" if repo.is_root else f"journalctl _SYSTEMD_USER_UNIT={unit} + USER_UNIT={unit}"
