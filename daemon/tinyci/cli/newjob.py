"""Requests that make a job: their output, and their --wait."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK
from tinyci.cli.follower import Follower
from tinyci.cli.jobdisplay import OutputDisplay
from tinyci.cli.terminal import safe


def add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="follow the new job to its end, and exit by it")


def request(arguments: argparse.Namespace, member: str, *more: str, repo: str = "", job: str = "") -> int:
    """Ask the manager for a new job of that repo, or by that other job; print its id, and with --wait follow it."""

    async def ask(daemon: Client) -> int:
        if repo:
            await daemon.check_repo(repo)
        (path,) = await daemon.request(member, repo or (await daemon.find(job)).id, *more)
        new = await daemon.listed_job(path)
        print(f"started job {new.id} for {safe(new.repo)}.", flush=True)
        if not arguments.wait:
            return OK
        return await Follower(daemon, new, OutputDisplay(stages=True)).follow()

    return client.talk(ask)
