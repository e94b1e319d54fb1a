"""The follower of a job: output and states as they come, up to its end, whatever becomes of the daemon meanwhile."""

import asyncio
import time

from tinyci.cli.client import LONG_POLL, RETRY_DELAY, Client, is_lost
from tinyci.cli.exitstatus import OF_STATE, OK, UNKNOWN, CommandError
from tinyci.cli.jobdisplay import Display
from tinyci.cli.jobnames import ListedJob, short
from tinyci.dbus.names import JOB
from tinyci.model.state import State, is_final
from tinyci.model.timespan import brief
from tinyci.model.timestamp import seconds
from tinyci.runtime.backoff import Backoff

_PATIENCE = 60.0
"""Seconds that the daemon may be away, or may take to know of a job that was just pushed."""


class Follower:
    """One job, followed over one connection after the other."""

    def __init__(self, daemon: Client, job: ListedJob, display: Display) -> None:
        self._daemon = daemon
        self._job = job
        self._display = display
        self._position = ""
        """Of the last line that was shown, as Job.ReadOutput() gives it."""
        self._state = ""
        """The last state that was shown."""
        self._is_pause_noted = False

    async def catch_up(self) -> int:
        """Show the output that there is."""
        while True:
            lines, _ = await self._read(wait=False)
            if not lines:
                return OK
            self._display.lines(lines)

    async def follow(self) -> int:
        """Show everything up to the end of the job; return the exit status for that end."""
        try:
            state = await self._follow()
        except asyncio.CancelledError:  # Ctrl-C
            self._display.note(
                f"the job goes on: 'tinyci log -f {short(self._job.id)}' shows it again, and "
                f"'tinyci cancel {short(self._job.id)}' ends it"
            )
            raise
        self._display.result(await self._result(state))
        return OF_STATE[state]

    async def _follow(self) -> str:
        """Return the final state."""
        while True:
            lines, state = await self._read_patiently()
            if state == State.BUILDING:  # begins with its output; every other state comes after it
                self._show_stage(state)
            if lines:
                self._display.lines(lines)
            if not is_final(state):
                self._show_stage(state)
            elif not lines:
                return state
            if state == State.QUEUED and not self._is_pause_noted and await self._is_paused():
                self._is_pause_noted = True
                self._display.note("jobs are paused: it begins after 'tinyci resume'")

    def _show_stage(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._display.stage(self._job, state)

    async def _is_paused(self) -> bool:
        try:
            return bool(await self._daemon.get("Paused"))
        except CommandError:  # the next question waits for the daemon
            return False

    async def _read_patiently(self) -> tuple[list[str], str]:
        """Wait for more output, also from a daemon that was away or has to take the job yet. Raises CommandError."""
        deadline = time.monotonic() + _PATIENCE
        backoff = Backoff(RETRY_DELAY)
        is_loss_noted = False
        while True:
            try:
                await self._daemon.reconnect()
                return await self._read(wait=True)
            except CommandError as failure:
                # A daemon that starts knows of its jobs a moment after it has its name.
                if not (is_lost(failure) or failure.status == UNKNOWN) or time.monotonic() > deadline:
                    raise
                if is_lost(failure) and not is_loss_noted:
                    self._display.note(f"{failure}; waiting for it, the job is not lost")
                    is_loss_noted = True
            await backoff.wait()

    async def _read(self, *, wait: bool) -> tuple[list[str], str]:
        """The next lines and the state. Raises CommandError."""
        had_object = bool(self._job.path)
        path = self._job.path or await self._daemon.path(self._job.id)
        self._job = self._job._replace(path=path)
        try:
            self._position, lines, state = await self._daemon.call(
                path, JOB, "ReadOutput", "sb", self._position, wait, timeout=LONG_POLL
            )
        except CommandError as failure:
            if had_object and not is_lost(failure):
                # Another daemon has no object of the job yet, and this one not any more if it only keeps it: ask again.
                self._job = self._job._replace(path="")
                raise CommandError(UNKNOWN, str(failure)) from None
            raise
        return lines, state

    async def _result(self, state: str) -> str:
        """The sentence on how the job ended."""
        properties = await self._daemon.properties(self._job.path, "Started", "Finished", "Reason")
        begin, end = (seconds(properties[name]) for name in ("Started", "Finished"))
        duration = f" after {brief(end - begin)}" if begin and end else ""
        reason = f": {properties['Reason']}" if properties["Reason"] else ""
        return f"job {short(self._job.id)} of {self._job.repo} {State(state).clause}{duration}{reason}."
