"""The requests that make a job: what they print, and how they wait for it."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client, id_of
from tinyci.cli.exitstatus import OK
from tinyci.cli.follow import Follower, OutputDisplay
from tinyci.cli.jobnames import ListedJob
from tinyci.cli.terminal import safe


def add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="follow the new job to its end, and exit by it")


def for_a_job(arguments: argparse.Namespace, member: str, *more: str, repo: str = "", job: str = "") -> int:
    """Ask the manager for a new job of that repo, or as that other job; say which it is, and with --wait follow it."""

    async def ask(daemon: Client) -> int:
        if repo:
            await daemon.check_repo(repo)
        (path,) = await daemon.request(member, repo or (await daemon.find(job)).id, *more)
        known = await daemon.properties(path)
        print(f"started job {id_of(path)} for {safe(known['Repo'])}.", flush=True)
        if not arguments.wait:
            return OK
        made = ListedJob(id_of(path), known["Repo"], known["Ref"], known["State"], path)
        return await Follower(daemon, made, OutputDisplay(stages=True)).follow()

    return client.talk(ask)
