"""Candidates that a shell offers for the last word of a command line (completions/), one a line, each with a tab and a
description. Jobs and repos are asked of the daemon; when it does not answer, they are quietly left out."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from tinyci.cli.commands import COMMANDS, parser
from tinyci.cli.exitstatus import CommandError
from tinyci.cli.terminal import safe

_PATIENCE = 2.0
"""Seconds that somebody who pressed the tab key may wait for the daemon."""

Candidate = tuple[str, str]
"""A word and its description."""


def run(words: Sequence[str]) -> None:
    """Run `tinyci complete WORDS…`: the words after `tinyci`, the last one as far as it is written."""
    *before, last = [*words[:-1], "" if words[-1] == "=" else words[-1]] if words else [""]
    before = [word for word in before if word != "="]  # bash makes words of '=', the others do not
    prefix = ""
    if last.startswith("--") and "=" in last:
        option, _, last = last.partition("=")
        before, prefix = [*before, option], f"{option}="
    for word, description in candidates(before, last):
        if word.startswith(last) and word.isprintable():
            print(prefix + word, safe(description).replace("\t", " "), sep="\t")


def candidates(before: Sequence[str], prefix: str) -> Iterator[Candidate]:
    """Words that may come after those words. Those that do not begin with `prefix` are dropped later."""
    command = next((word for word in before if word in COMMANDS), "")
    whole = parser(command)
    if not command:
        yield from COMMANDS.items()
        yield from _options(whole, prefix)
        return
    (commands,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    subparser = commands.choices[command]
    words = list(before[before.index(command) + 1 :])
    takes_value = {name: action for action in subparser._actions for name in action.option_strings if action.nargs != 0}
    if words and words[-1] in takes_value:
        yield from _values(takes_value[words[-1]], words, prefix)
        return
    yield from _options(subparser, prefix)
    arguments = [
        word
        for number, word in enumerate(words)
        if not word.startswith("-") and not (number and words[number - 1] in takes_value)
    ]
    positional = [action for action in subparser._actions if not action.option_strings]
    if len(arguments) < len(positional):
        yield from _values(positional[len(arguments)], arguments, prefix)


def _options(parser: argparse.ArgumentParser, prefix: str) -> Iterator[Candidate]:
    if prefix.startswith("-"):
        for action in parser._actions:
            yield from ((name, action.help or "") for name in action.option_strings)


def _values(action: argparse.Action, words: Sequence[str], prefix: str) -> Iterator[Candidate]:
    """Values of an argument, by its name in the usage."""
    if action.choices:
        yield from ((str(each), "") for each in action.choices)
        return
    if action.metavar == "COUNT":
        return
    with suppress(CommandError, TimeoutError):
        yield from asyncio.run(_ask(str(action.metavar), words, prefix))


async def _ask(kind: str, words: Sequence[str], prefix: str) -> list[Candidate]:
    """Values that the daemon knows."""
    from tinyci.cli.client import Client
    from tinyci.cli.jobnames import short
    from tinyci.dbus.names import MANAGER, PATH
    from tinyci.model.text import short_ref

    async with asyncio.timeout(_PATIENCE):
        daemon = await Client.connect()
        try:
            repos = (await daemon.call(PATH, MANAGER, "ListRepos"))[0]
            values = [(name, f"repo of {user}") for name, user, *_ in repos]
            match kind:
                case "REF":
                    refs = [ref for name, _, _, refs, _ in repos if name in words for ref in refs]
                    # 'run' takes a word without refs/ for a branch.
                    values = [(ref.removeprefix("refs/heads/"), ref) for ref in refs if not set(ref) & set("*?[")]
                case "REPO|USER":
                    values += [(user, "user") for user in sorted({user for _, user, *_ in repos})]
                case "JOB":
                    jobs = await daemon.jobs()
                    for job in reversed(jobs):
                        short_id = short(job.id, jobs)
                        name = short_id if short_id.startswith(prefix) else job.id
                        values.append((name, f"{job.state} {job.repo} {short_ref(job.ref)}"))
                    values.insert(0, ("@", "the newest job"))
            return values
        finally:
            await daemon.close()
