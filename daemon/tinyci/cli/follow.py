"""Follows a job to its end: its output and its stages as they come, whatever becomes of the daemon meanwhile."""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from tinyci.cli.client import Client, is_lost
from tinyci.cli.exitstatus import OF_STATE, OK, UNKNOWN, CommandError
from tinyci.cli.jobnames import ListedJob, short
from tinyci.cli.terminal import Progress, has_colours, safe
from tinyci.dbus.names import JOB
from tinyci.model.timespan import brief
from tinyci.model.timestamp import seconds

_PATIENCE = 60.0
"""Seconds that the daemon may be away, or may take to know of a job that was just pushed."""
_BETWEEN = 0.5
_LONG_POLL = 40.0
"""Seconds for an answer of which the daemon takes up to 20 to wait."""


class Display(Protocol):
    """Whom a job is told to."""

    def lines(self, lines: Sequence[str]) -> None:
        """Output of the build."""

    def stage(self, job: ListedJob, state: str) -> None:
        """A new state."""

    def note(self, sentence: str) -> None:
        """About the following itself."""

    def ended(self, sentence: str) -> None:
        """The result."""


class OutputDisplay:
    """Somebody who wants the output on stdout; stages and the result on stderr, where they are asked for."""

    def __init__(self, stages: bool) -> None:
        self._stages = stages
        self._colours = has_colours(sys.stdout)

    def lines(self, lines: Sequence[str]) -> None:
        sys.stdout.write("".join(f"{safe(line, self._colours)}\n" for line in lines))
        sys.stdout.flush()

    def stage(self, job: ListedJob, state: str) -> None:
        if self._stages:
            self.note(f"job {short(job.id)} of {job.repo}: {state}")

    def note(self, sentence: str) -> None:
        print(f"tinyci: {safe(sentence)}", file=sys.stderr, flush=True)

    def ended(self, sentence: str) -> None:
        if self._stages:
            self.note(sentence)


class ResultDisplay:
    """Somebody who wants the result, on stdout; at a terminal, the state until then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def lines(self, lines: Sequence[str]) -> None:
        """Not told."""

    def stage(self, job: ListedJob, state: str) -> None:
        self._progress.show(f"job {short(job.id)} of {job.repo}: {state}")

    def note(self, sentence: str) -> None:
        self._progress.clear()
        print(f"tinyci: {safe(sentence)}", file=sys.stderr, flush=True)

    def ended(self, sentence: str) -> None:
        self._progress.clear()
        print(safe(sentence), flush=True)


class Follower:
    """One job, followed over one connection after the other."""

    def __init__(self, daemon: Client, job: ListedJob, teller: Display) -> None:
        self._daemon = daemon
        self._job = job
        self._teller = teller
        self._after = ""
        self._told = ""
        self._said_paused = False

    async def catch_up(self) -> int:
        """Tell the output that there is."""
        while True:
            lines, _ = await self._read(wait=False)
            if not lines:
                return OK
            self._teller.lines(lines)

    async def follow(self) -> int:
        """Tell everything up to the end of the job; the exit status for that end."""
        try:
            state = await self._follow()
        except asyncio.CancelledError:  # Ctrl-C
            self._teller.note(
                f"the job goes on: 'tinyci log -f {short(self._job.id)}' shows it again, and "
                f"'tinyci cancel {short(self._job.id)}' ends it"
            )
            raise
        self._teller.ended(await self._result(state))
        return OF_STATE[state]

    async def _follow(self) -> str:
        while True:
            lines, state = await self._patiently(wait=True)
            if state == "building":  # begins with its output; every other state comes after it
                self._stage(state)
            if lines:
                self._teller.lines(lines)
            if state in OF_STATE and not lines:
                return state
            if state not in OF_STATE:
                self._stage(state)
            if state == "queued" and not self._said_paused and await self._is_paused():
                self._said_paused = True
                self._teller.note("jobs are paused: it begins after 'tinyci resume'")

    def _stage(self, state: str) -> None:
        if state != self._told:
            self._told = state
            self._teller.stage(self._job, state)

    async def _is_paused(self) -> bool:
        try:
            return bool(await self._daemon.get("Paused"))
        except CommandError:  # the next question waits for the daemon
            return False

    async def _patiently(self, wait: bool) -> tuple[list[str], str]:
        """Some more output, also from a daemon that was away or has to take the job yet. Raises Failure."""
        end = time.monotonic() + _PATIENCE
        told = False
        while True:
            try:
                return await self._read(wait)
            except CommandError as failure:
                # A daemon that starts knows of its jobs a moment after it has its name.
                if not (is_lost(failure) or failure.status == UNKNOWN) or time.monotonic() > end:
                    raise
                if is_lost(failure) and not told:
                    self._teller.note(f"{failure}; waiting for it, the job is not lost")
                    told = True
            # Neither a daemon that is away nor a bus that is says when it is back.
            await asyncio.sleep(_BETWEEN)
            if not self._daemon.bus.connected:
                await self._reconnect(end)

    async def _reconnect(self, end: float) -> None:
        while True:
            try:
                fresh = await Client.connect()
            except CommandError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_BETWEEN)
            else:
                await self._daemon.bus.close()
                self._daemon.bus = fresh.bus
                return

    async def _read(self, wait: bool) -> tuple[list[str], str]:
        known = self._job.path
        path = known or await self._daemon.path(self._job.id)
        self._job = self._job._replace(path=path)
        try:
            self._after, lines, state = await self._daemon.call(
                path, JOB, "ReadOutput", "sb", self._after, wait, timeout=_LONG_POLL
            )
        except CommandError as failure:
            if known and not is_lost(failure):
                # Another daemon has no object of the job yet, and this one not any more if it only keeps it: ask again.
                self._job = self._job._replace(path="")
                raise CommandError(UNKNOWN, str(failure)) from None
            raise
        return lines, state

    async def _result(self, state: str) -> str:
        known = await self._daemon.properties(self._job.path)
        began, finished = (seconds(known[name]) for name in ("Started", "Finished"))
        took = f" after {brief(finished - began)}" if began and finished else ""
        reason = f": {known['Reason']}" if known["Reason"] else ""
        return f"job {short(self._job.id)} of {self._job.repo} {_past(state)}{took}{reason}."


def _past(state: str) -> str:
    """A final state as the verb of a sentence."""
    return state if state in ("failed", "succeeded", "timed-out") else f"was {state}"
