"""The requests that make a job: what they print, and how they wait for it."""

import argparse
from collections.abc import Callable

from tinyci.cli import client
from tinyci.cli.client import Client, id_of
from tinyci.cli.following import Following, Reader
from tinyci.cli.names import Row
from tinyci.cli.outcome import OK


def add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="follow the new job to its end, and exit by it")


def for_a_job(
    arguments: argparse.Namespace, member: str, body: Callable[[Row], tuple[str, ...]], of_job: str = ""
) -> int:
    """Ask the manager for a new job, say which it is, and with --wait follow it. `of_job`: the job that body() gets."""

    async def ask(daemon: Client) -> int:
        row = await daemon.find(of_job) if of_job else Row("", "", "", "", "")
        (path,) = await daemon.request(member, *body(row))
        known = await daemon.properties(path)
        print(f"started job {id_of(path)} for {known['Repo']}.", flush=True)
        if not arguments.wait:
            return OK
        job = Row(id_of(path), known["Repo"], known["Ref"], known["State"], path)
        return await Following(daemon, job, Reader(stages=True)).follow()

    return client.talk(ask)
