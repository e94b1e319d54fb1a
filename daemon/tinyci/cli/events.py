"""Lists changes of jobs, oldest first, and with -f goes on as they come, also while the daemon restarts: on a terminal
a line for a person, in a pipe one with time, state, repo, ref, id and reason between tabs."""

import argparse
import asyncio
import json
import os
import stat
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime

from tinyci.cli import client, terminal
from tinyci.cli.client import Client, is_lost
from tinyci.cli.exitstatus import OK, CommandError
from tinyci.cli.jobnames import branch, short
from tinyci.cli.terminal import safe
from tinyci.dbus.names import MANAGER, PATH

_SHOWN = 20
_AT_ONCE = 500
"""Events that the daemon counts back for us; for more, or those of one repo, we read all that it keeps."""
_OLDEST = "0-0"
_BETWEEN = 0.5
_LONG_POLL = 40.0
"""Seconds for an answer of which the daemon takes up to 20 to wait."""

Event = Mapping[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo", nargs="?", metavar="REPO", help="only those of this repo")
    parser.add_argument("-f", "--follow", action="store_true", help="go on, with what comes, until interrupted")
    parser.add_argument(
        *("-n", "--lines"),
        type=_count,
        default=_SHOWN,
        metavar="COUNT",
        help=f"how many of the last ones, by default {_SHOWN}",
    )
    parser.add_argument("--json", action="store_true", help="as JSON: an object on each line")


def run(arguments: argparse.Namespace) -> int:
    async def tell(daemon: Client) -> int:
        events = Events(daemon, arguments.repo or "", arguments.json)
        if events.repo and not arguments.follow:
            await daemon.check_repo(events.repo)
        await events.catch_up(arguments.lines)
        if arguments.follow:
            await events.follow()
        return OK

    return client.talk(tell)


class Events:
    """Those of one repo, or all with an empty name, read over one connection after the other."""

    def __init__(self, daemon: Client, repo: str, as_json: bool) -> None:
        self.repo = repo
        self._daemon = daemon
        self._line = _as_json if as_json else _as_line
        self._position = ""

    async def catch_up(self, count: int) -> None:
        """Tell so many of the last ones."""
        if not count:
            await self._read("")
            return
        found: deque[Event] = deque(maxlen=count)
        after = f"-{count}" if count <= _AT_ONCE and not self.repo else _OLDEST
        while events := await self._read(after):  # an answer has a limit
            found.extend(event for event in events if self._is_meant(event))
            after = self._position
        self._tell(found)

    async def follow(self) -> None:
        """Tell what comes, until nobody reads it any more."""
        gone = asyncio.Event()
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            # A pipe that is only written to has something to read when its other end is closed, and only then.
            asyncio.get_running_loop().add_reader(sys.stdout.fileno(), gone.set)
        ended = asyncio.ensure_future(gone.wait())
        following = asyncio.ensure_future(self._follow())
        try:
            await asyncio.wait((ended, following), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
            raise BrokenPipeError
        finally:
            asyncio.get_running_loop().remove_reader(sys.stdout.fileno())
            for each in (ended, following):
                each.cancel()

    async def _follow(self) -> None:
        is_away = False
        while True:
            try:
                self._tell(await self._read(self._position, wait=True))
                is_away = False
                continue
            except CommandError as failure:
                if not is_lost(failure):
                    raise
                if not is_away:
                    _note(f"{failure}; waiting for it, no event is lost")
                is_away = True
            # Neither a daemon that is away nor a bus that is says when it is back.
            await asyncio.sleep(_BETWEEN)
            if not self._daemon.bus.connected:
                await self._reconnect()

    async def _reconnect(self) -> None:
        while True:
            try:
                fresh = await Client.connect()
            except CommandError:
                await asyncio.sleep(_BETWEEN)
            else:
                await self._daemon.bus.close()
                self._daemon.bus = fresh.bus
                return

    async def _read(self, after: str, wait: bool = False) -> list[Event]:
        self._position, missed, events = await self._daemon.call(
            PATH, MANAGER, "ReadEvents", "sb", after, wait, timeout=_LONG_POLL
        )
        if missed:
            _note("some events are missing here: Redis does not keep them any more")
        return list(events)

    def _is_meant(self, event: Event) -> bool:
        return not self.repo or event.get("repo") == self.repo

    def _tell(self, events: Iterable[Event]) -> None:
        text = "".join(f"{self._line(each)}\n" for each in events if self._is_meant(each))
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()


def _as_json(event: Event) -> str:
    return json.dumps(event)


def _as_line(event: Event) -> str:
    at, state, repo, ref, job, reason = (event.get(key, "") for key in ("at", "state", "repo", "ref", "job", "reason"))
    if not sys.stdout.isatty():
        return "\t".join(safe(each).replace("\t", " ") for each in (at, state, repo, ref, job, reason))
    more = f": {safe(reason)}" if reason else ""
    told = terminal.state(state, sys.stdout, 12)
    return f"{_local(at)}  {told}  {safe(repo)} {safe(branch(ref))}, job {safe(short(job))}{more}"


def _local(at: str) -> str:
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return safe(at)


def _note(sentence: str) -> None:
    print(f"tinyci: {safe(sentence)}", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 6:
        raise argparse.ArgumentTypeError(f"expected a number of events, not {safe(text)!r}")
    return int(text)
