"""Let no job begin until resume, also after a restart of the daemon; those that run go on."""

import argparse

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add none."""


def run(arguments: argparse.Namespace) -> int:
    async def pause(daemon: Client) -> int:
        await daemon.request("Pause")
        print("paused: pushes are queued until 'tinyci resume'.")
        return OK

    return client.talk(pause)
