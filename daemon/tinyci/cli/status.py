"""Says what goes on now: whether the daemon runs and begins jobs, and which jobs run or wait."""

import argparse
import sys

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import LIVE, OK
from tinyci.cli.jobnames import branch, short
from tinyci.cli.terminal import table
from tinyci.dbus.names import MANAGER, PATH


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON: an object")


def run(arguments: argparse.Namespace) -> int:
    async def status(daemon: Client) -> int:
        known = await daemon.properties(PATH, MANAGER)
        jobs = await daemon.jobs()
        live = [job for job in jobs if job.state in LIVE]
        if arguments.json:
            import json

            told = {key.lower(): known[key] for key in ("Version", "Paused", "Running", "Queued", "Repos")}
            told["jobs"] = [{"id": job.id, "repo": job.repo, "ref": job.ref, "state": job.state} for job in live]
            print(json.dumps(told, indent=2))
            return OK
        paused = "paused ('tinyci resume' ends that)" if known["Paused"] else "ready"
        print(
            f"tinyci {known['Version']} is {paused}: {known['Running']} running, {known['Queued']} waiting, "
            f"{len(known['Repos'])} repos."
        )
        if live:
            rows = [(short(job.id, jobs), job.state, job.repo, branch(job.ref)) for job in live]
            print("\n".join(table(("ID", "STATE", "REPO", "REF"), rows, sys.stdout, coloured=1)))
        return OK

    return client.talk(status)
