"""Print all that is known of a job, and the end of its output."""

import argparse
import sys

from tinyci.cli import client
from tinyci.cli.client import Client
from tinyci.cli.exitstatus import OK
from tinyci.cli.terminal import has_colours, safe, state

_DURATIONS = ("BuildDuration", "RestartDuration", "VerifyDuration")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id or the beginning of it, '@', or a repo")
    parser.add_argument("--json", action="store_true", help="as JSON: an object with the properties of the bus")


def run(arguments: argparse.Namespace) -> int:
    async def show(daemon: Client) -> int:
        job = await daemon.find(arguments.job)
        properties = await daemon.properties(job.path, "Finished", "Output")
        if arguments.json:
            import json

            print(json.dumps(properties, indent=2))
            return OK
        for name, value in properties.items():
            if name == "Output" or (value in ("", -1, 0.0) and not (name == "Success" and properties["Finished"])):
                continue
            if name == "State":
                text = state(value, sys.stdout)
            elif name in _DURATIONS:
                text = f"{value:.3f} s"
            else:
                text = safe(str(value))
            print(f"{name:>15}: {text}")
        if properties["Output"]:
            colours = has_colours(sys.stdout)
            print()
            for line in properties["Output"].removesuffix("\n").split("\n"):
                print(safe(line, colours=colours))
        return OK

    return client.talk(show)
