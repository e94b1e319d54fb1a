"""Print the output of a job's build, and with -f go on to the end of the job, and exit by its result."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.follower import Follower
from tinyci.cli.jobdisplay import OutputDisplay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id or the beginning of it, '@', or a repo")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")


def run(arguments: argparse.Namespace) -> int:
    async def log(daemon: Client) -> int:
        follower = Follower(daemon, await daemon.find(arguments.job), OutputDisplay(stages=arguments.follow))
        return await (follower.follow() if arguments.follow else follower.catch_up())

    return client.talk(log)
