"""List live and recent jobs, oldest first: on a terminal as a table with the newest last, in a pipe as one line for
each job, with id, state, repo and ref between tabs."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK
from tinyci.cli.jobnames import ListedJob, short
from tinyci.cli.terminal import table
from tinyci.dbus.names import JOB
from tinyci.model.state import State
from tinyci.model.text import short_ref
from tinyci.model.timespan import brief

_ON_A_TERMINAL = 20
_MANY = 500
"""Jobs that wait, from which on the daemon may not list all (org.tinyci1(5))."""
_STATES = [str(state) for state in State]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo", nargs="?", metavar="REPO", help="only those of this repo")
    parser.add_argument(
        "--state",
        action="append",
        choices=_STATES,
        metavar="STATE",
        help=f"only those in this state, one of {', '.join(_STATES)}; may be given more than once",
    )
    parser.add_argument("--all", action="store_true", help=f"on a terminal, more than the newest {_ON_A_TERMINAL}")
    parser.add_argument("--json", action="store_true", help="as JSON: a list of objects")


def run(arguments: argparse.Namespace) -> int:
    async def list_jobs(daemon: Client) -> int:
        all_jobs = await daemon.jobs()
        if arguments.repo and not any(job.repo == arguments.repo for job in all_jobs):
            await daemon.check_repo(arguments.repo)
        jobs = [
            job
            for job in all_jobs
            if (not arguments.repo or job.repo == arguments.repo)
            and (not arguments.state or job.state in arguments.state)
        ]
        if arguments.json:
            import json

            print(
                json.dumps(
                    [{"id": job.id, "repo": job.repo, "ref": job.ref, "state": job.state} for job in jobs], indent=2
                )
            )
        elif sys.stdout.isatty():
            newest = jobs if arguments.all else jobs[-_ON_A_TERMINAL:]
            for line in await _table(daemon, newest, all_jobs):
                print(line)
            if len(newest) < len(jobs):
                print(f"The newest {len(newest)} of {len(jobs)}: --all lists the others as well.")
            listed_count = sum(job.state == State.QUEUED for job in all_jobs)
            if listed_count >= _MANY and (count := await daemon.get("Queued")) > listed_count:
                print(f"Before these, {count - listed_count} more wait.")
        else:
            for line in table((), [(job.id, job.state, job.repo, job.ref) for job in jobs], sys.stdout):
                print(line)
        return OK

    return client.talk(list_jobs)


async def _table(daemon: Client, jobs: Sequence[ListedJob], all_jobs: Sequence[ListedJob]) -> list[str]:
    if not jobs:
        return ["No jobs."]
    times = await asyncio.gather(*(daemon.get("Created", job.path, JOB) for job in jobs))
    rows = [
        (short(job.id, all_jobs), job.state, job.repo, short_ref(job.ref), _age(created_at))
        for job, created_at in zip(jobs, times, strict=True)
    ]
    return table(("ID", "STATE", "REPO", "REF", "AGE"), rows, sys.stdout, state_column=1)


def _age(created: str) -> str:
    from tinyci.model.timestamp import seconds

    since = seconds(created)
    return brief(max(0.0, time.time() - since)) if since else ""
