"""List changes of jobs, oldest first, and with -f go on as they come, also while the daemon restarts: on a terminal
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
from tinyci.cli.client import LONG_POLL, RETRY_DELAY, Client, is_lost
from tinyci.cli.exitstatus import OK, CommandError
from tinyci.cli.jobnames import short
from tinyci.cli.terminal import safe
from tinyci.dbus.names import MANAGER, PATH
from tinyci.model.text import short_ref
from tinyci.runtime.backoff import Backoff
from tinyci.runtime.waiting import first_of

_LAST = 20
_AT_ONCE = 500
"""Events that the daemon counts back for us; for more, or those of one repo, we read all that it keeps."""
_OLDEST = "0-0"

Event = Mapping[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo", nargs="?", metavar="REPO", help="only those of this repo")
    parser.add_argument("-f", "--follow", action="store_true", help="go on, with what comes, until interrupted")
    parser.add_argument(
        *("-n", "--lines"),
        type=_count,
        default=_LAST,
        metavar="COUNT",
        help=f"how many of the last ones, by default {_LAST}",
    )
    parser.add_argument("--json", action="store_true", help="as JSON: an object on each line")


def run(arguments: argparse.Namespace) -> int:
    async def list_events(daemon: Client) -> int:
        events = Events(daemon, arguments.repo or "", as_json=arguments.json)
        if events.repo and not arguments.follow:
            await daemon.check_repo(events.repo)
        await events.catch_up(arguments.lines)
        if arguments.follow:
            await events.follow()
        return OK

    return client.talk(list_events)


class Events:
    """Events of one repo, or all with an empty name, read over one connection after the other."""

    def __init__(self, daemon: Client, repo: str, *, as_json: bool) -> None:
        self.repo = repo
        self._daemon = daemon
        self._line = _as_json if as_json else _as_line
        self._position = ""

    async def catch_up(self, count: int) -> None:
        """Print the last `count` events."""
        if not count:
            await self._read("")
            return
        newest: deque[Event] = deque(maxlen=count)
        after = f"-{count}" if count <= _AT_ONCE and not self.repo else _OLDEST
        while events := await self._read(after):  # an answer has a limit
            newest.extend(event for event in events if self._is_meant(event))
            after = self._position
        self._print(newest)

    async def follow(self) -> None:
        """Print events as they come, until nobody reads them any more."""
        reader_left = asyncio.Event()
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            # A pipe that is only written to has something to read when its other end is closed, and only then.
            asyncio.get_running_loop().add_reader(sys.stdout.fileno(), reader_left.set)
        try:
            future = await first_of(self._print_forever(), reader_left.wait())
            if future:
                future.result()
            raise BrokenPipeError
        finally:
            asyncio.get_running_loop().remove_reader(sys.stdout.fileno())

    async def _print_forever(self) -> None:
        is_loss_noted = False
        backoff = Backoff(RETRY_DELAY)
        while True:
            try:
                await self._daemon.reconnect()
                self._print(await self._read(self._position, wait=True))
                is_loss_noted = False
                continue
            except CommandError as failure:
                if not is_lost(failure):
                    raise
                if not is_loss_noted:
                    _note(f"{failure}; waiting for it, no event is lost")
                is_loss_noted = True
            await backoff.wait()

    async def _read(self, after: str, *, wait: bool = False) -> list[Event]:
        self._position, are_missing, events = await self._daemon.call(
            PATH, MANAGER, "ReadEvents", "sb", after, wait, timeout=LONG_POLL
        )
        if are_missing:
            _note("some events are missing here: Redis does not keep them any more")
        return list(events)

    def _is_meant(self, event: Event) -> bool:
        return not self.repo or event.get("repo") == self.repo

    def _print(self, events: Iterable[Event]) -> None:
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
    padded_state = terminal.state(state, sys.stdout, 12)
    return f"{_local(at)}  {padded_state}  {safe(repo)} {safe(short_ref(ref))}, job {safe(short(job))}{more}"


def _local(at: str) -> str:
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # no date, or one that the zone leads out of all years
        return safe(at)


def _note(sentence: str) -> None:
    print(f"tinyci: {safe(sentence)}", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 6:
        raise argparse.ArgumentTypeError(f"expected a number of events, not {safe(text)!r}")
    return int(text)
