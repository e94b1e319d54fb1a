"""List repos: user, refs and units of each, and the state of its newest job; in a pipe one line for each, between tabs,
with the repository as the last."""

import argparse
import sys

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK
from tinyci.cli.terminal import table
from tinyci.dbus.names import MANAGER, PATH
from tinyci.model.text import short_ref


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON: a list of objects")


def run(arguments: argparse.Namespace) -> int:
    async def list_repos(daemon: Client) -> int:
        repos = (await daemon.call(PATH, MANAGER, "ListRepos"))[0]
        newest = {job.repo: job.state for job in await daemon.jobs()}
        if arguments.json:
            import json

            keys = ("name", "user", "repository", "refs", "units")
            print(
                json.dumps(
                    [{**dict(zip(keys, row, strict=True)), "newest": newest.get(row[0], "")} for row in repos], indent=2
                )
            )
            return OK
        is_terminal = sys.stdout.isatty()
        rows = []
        for name, user, repository, refs, units in repos:
            names = map(short_ref, refs) if is_terminal else refs
            row = [name, newest.get(name, ""), user, " ".join(names), " ".join(units)]
            rows.append(row if is_terminal else [*row, repository])
        if not rows:
            print("No repos: none has a file in /etc/tinyci/repos.d.", file=sys.stderr)
        else:
            print("\n".join(table(("REPO", "NEWEST", "USER", "REFS", "UNITS"), rows, sys.stdout, state_column=1)))
        return OK

    return client.talk(list_repos)
