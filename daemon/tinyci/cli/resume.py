"""Let jobs begin again after a pause."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add none."""


def run(arguments: argparse.Namespace) -> int:
    async def resume(daemon: Client) -> int:
        await daemon.request("Resume")
        print("resumed.")
        return OK

    return client.talk(resume)
