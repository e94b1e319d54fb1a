"""End a job that waits or builds, and return when it has ended."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK
from tinyci.cli.jobnames import short
from tinyci.cli.terminal import Progress, safe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id or the beginning of it, '@', or a repo")


def run(arguments: argparse.Namespace) -> int:
    async def cancel(daemon: Client) -> int:
        job = await daemon.find(arguments.job)
        progress = Progress()
        progress.show(f"job {short(job.id)} of {job.repo}: its end is awaited")
        await progress.during(daemon.request("Cancel", job.id))
        print(f"cancelled job {short(job.id)} of {safe(job.repo)}.")
        return OK

    return client.talk(cancel)
