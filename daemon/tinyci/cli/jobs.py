"""Lists live and recent jobs, oldest first: on a terminal as a table with the newest last, in a pipe as one line for
each job, with id, state, repo and ref between tabs."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import LIVE, OF_STATE, OK
from tinyci.cli.jobnames import ListedJob, branch, short
from tinyci.cli.terminal import table
from tinyci.dbus.names import JOB
from tinyci.model.timespan import brief

_ON_A_TERMINAL = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo", nargs="?", metavar="REPO", help="only those of this repo")
    parser.add_argument(
        "--state",
        action="append",
        choices=[*LIVE, *OF_STATE],
        metavar="STATE",
        help=f"only those in this state, one of {', '.join([*LIVE, *OF_STATE])}; may be given more than once",
    )
    parser.add_argument("--all", action="store_true", help=f"on a terminal, more than the newest {_ON_A_TERMINAL}")
    parser.add_argument("--json", action="store_true", help="as JSON: a list of objects")


def run(arguments: argparse.Namespace) -> int:
    async def list_jobs(daemon: Client) -> int:
        everything = await daemon.jobs()
        if arguments.repo and not any(job.repo == arguments.repo for job in everything):
            await daemon.check_repo(arguments.repo)
        found = [
            job
            for job in everything
            if (not arguments.repo or job.repo == arguments.repo)
            and (not arguments.state or job.state in arguments.state)
        ]
        if arguments.json:
            import json

            print(
                json.dumps(
                    [{"id": job.id, "repo": job.repo, "ref": job.ref, "state": job.state} for job in found], indent=2
                )
            )
        elif sys.stdout.isatty():
            shown = found if arguments.all else found[-_ON_A_TERMINAL:]
            for line in await _table(daemon, shown, everything):
                print(line)
            if len(shown) < len(found):
                print(f"The newest {len(shown)} of {len(found)}: --all lists the others as well.")
        else:
            for line in table((), [(job.id, job.state, job.repo, job.ref) for job in found], sys.stdout):
                print(line)
        return OK

    return client.talk(list_jobs)


async def _table(daemon: Client, jobs: Sequence[ListedJob], everything: Sequence[ListedJob]) -> list[str]:
    if not jobs:
        return ["No jobs."]
    created = await asyncio.gather(*(daemon.get("Created", job.path, JOB) for job in jobs))
    rows = [
        (short(job.id, everything), job.state, job.repo, branch(job.ref), _age(when))
        for job, when in zip(jobs, created, strict=True)
    ]
    return table(("ID", "STATE", "REPO", "REF", "AGE"), rows, sys.stdout, coloured=1)


def _age(created: str) -> str:
    from tinyci.model.timestamp import seconds

    since = seconds(created)
    return brief(max(0.0, time.time() - since)) if since else ""
