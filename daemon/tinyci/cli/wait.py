"""Wait for the end of a job, say how it ended, and exit by its result."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.follower import Follower
from tinyci.cli.jobdisplay import ResultDisplay
from tinyci.cli.terminal import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id or the beginning of it, '@', or a repo")


def run(arguments: argparse.Namespace) -> int:
    async def wait(daemon: Client) -> int:
        progress = Progress()
        return await progress.during(
            Follower(daemon, await daemon.find(arguments.job), ResultDisplay(progress)).follow()
        )

    return client.talk(wait)
