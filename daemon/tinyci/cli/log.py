"""Prints what a job's build printed, and with -f goes on to the end of the job, and exits by it."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.follow import Follower, OutputDisplay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id or the beginning of it, '@', or a repo")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")


def run(arguments: argparse.Namespace) -> int:
    async def log(daemon: Client) -> int:
        following = Follower(daemon, await daemon.find(arguments.job), OutputDisplay(stages=arguments.follow))
        return await (following.follow() if arguments.follow else following.catch_up())

    return client.talk(log)
