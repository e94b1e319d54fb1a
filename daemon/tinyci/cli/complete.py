"""What a shell may offer for the last word of a command line (completions/): candidates with what they are, between a
tab, one a line. Jobs and repos are asked of the daemon; when it does not answer, they are quietly left out."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from tinyci.cli.commands import COMMANDS, parser
from tinyci.cli.exitstatus import CommandError

_PATIENCE = 2.0
"""Seconds that somebody who pressed the tab key may wait for the daemon."""


def run(words: Sequence[str]) -> None:
    """`tinyci complete WORDS…`: the words after `tinyci`, the last one as far as it is written."""
    *before, last = [*words[:-1], "" if words[-1] == "=" else words[-1]] if words else [""]
    before = [word for word in before if word != "="]  # bash makes words of '=', the others do not
    prefix = ""
    if last.startswith("--") and "=" in last:
        option, _, last = last.partition("=")
        before, prefix = [*before, option], f"{option}="
    for candidate, what in candidates(before, last):
        if candidate.startswith(last):
            print(f"{prefix}{candidate}\t{what}")


def candidates(before: Sequence[str], begun: str) -> Iterator[tuple[str, str]]:
    """What may come after those words."""
    command = next((word for word in before if word in COMMANDS), "")
    whole = parser(command)
    if not command:
        yield from COMMANDS.items()
        yield from _options(whole, begun)
        return
    (commands,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    own = commands.choices[command]
    words = list(before[before.index(command) + 1 :])
    valued = {name: action for action in own._actions for name in action.option_strings if action.nargs != 0}
    if words and words[-1] in valued:
        yield from _values(valued[words[-1]], words, begun)
        return
    yield from _options(own, begun)
    given = [
        word
        for number, word in enumerate(words)
        if not word.startswith("-") and not (number and words[number - 1] in valued)
    ]
    positional = [action for action in own._actions if not action.option_strings]
    if len(given) < len(positional):
        yield from _values(positional[len(given)], given, begun)


def _options(of: argparse.ArgumentParser, begun: str) -> Iterator[tuple[str, str]]:
    if begun.startswith("-"):
        for action in of._actions:
            yield from ((name, action.help or "") for name in action.option_strings)


def _values(action: argparse.Action, given: Sequence[str], begun: str) -> Iterator[tuple[str, str]]:
    """Of an argument, by what it is called in the usage."""
    if action.choices:
        yield from ((str(each), "") for each in action.choices)
        return
    if action.metavar == "COUNT":
        return
    with suppress(CommandError, TimeoutError):
        yield from asyncio.run(_ask(str(action.metavar), given, begun))


async def _ask(kind: str, given: Sequence[str], begun: str) -> list[tuple[str, str]]:
    """Candidates that the daemon knows."""
    from tinyci.cli.client import Client
    from tinyci.cli.jobnames import branch, short
    from tinyci.dbus.names import MANAGER, PATH

    async with asyncio.timeout(_PATIENCE):
        daemon = await Client.connect()
        try:
            repos = (await daemon.call(PATH, MANAGER, "ListRepos"))[0]
            found = [(name, f"repo of {user}") for name, user, *_ in repos]
            match kind:
                case "REF":
                    refs = [ref for name, _, _, refs, _ in repos if name in given for ref in refs]
                    found = [(branch(ref), ref) for ref in refs if not set(ref) & set("*?[")]
                case "REPO|USER":
                    found += [(user, "user") for user in sorted({user for _, user, *_ in repos})]
                case "JOB":
                    jobs = await daemon.jobs()
                    for job in reversed(jobs):
                        begin = short(job.id, jobs)
                        name = begin if begin.startswith(begun) else job.id
                        found.append((name, f"{job.state} {job.repo} {branch(job.ref)}"))
                    found.insert(0, ("@", "the newest job"))
            return found
        finally:
            await daemon.close()
