"""Say whether the daemon runs and begins jobs, and which jobs run or wait."""

import argparse
import sys

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK
from tinyci.cli.jobnames import short
from tinyci.cli.terminal import safe, table
from tinyci.dbus.names import MANAGER, PATH
from tinyci.model.state import is_final
from tinyci.model.text import short_ref


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON: an object")


def run(arguments: argparse.Namespace) -> int:
    async def status(daemon: Client) -> int:
        manager = await daemon.properties(PATH, "Version", "Paused", "Running", "Queued", "Repos", interface=MANAGER)
        jobs = await daemon.jobs()
        live = [job for job in jobs if not is_final(job.state)]
        if arguments.json:
            import json

            values = {key.lower(): manager[key] for key in ("Version", "Paused", "Running", "Queued", "Repos")}
            values["jobs"] = [{"id": job.id, "repo": job.repo, "ref": job.ref, "state": job.state} for job in live]
            print(json.dumps(values, indent=2))
            return OK
        readiness = "paused ('tinyci resume' ends that)" if manager["Paused"] else "ready"
        print(
            f"tinyci {safe(manager['Version'])} is {readiness}: {manager['Running']} running, "
            f"{manager['Queued']} waiting, {len(manager['Repos'])} repos."
        )
        if live:
            rows = [(short(job.id, jobs), job.state, job.repo, short_ref(job.ref)) for job in live]
            print("\n".join(table(("ID", "STATE", "REPO", "REF"), rows, sys.stdout, state_column=1)))
        return OK

    return client.talk(status)
