"""Examine everything that a deploy stands on, and print for what is wrong the command that mends it."""

import argparse
import asyncio
import json
import sys

from tinyci.cli import doctorreport
from tinyci.cli.exitstatus import FAILED, OK, UNKNOWN, CommandError
from tinyci.cli.terminal import has_colours
from tinyci.doctor.examination import NoSuchSubjectError, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", default="", metavar="REPO|USER", help="only this one, and the host")
    parser.add_argument("--all", action="store_true", help="also tell what holds, one line each")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    try:
        findings = asyncio.run(examine(arguments.subject))
    except NoSuchSubjectError as error:
        raise CommandError(UNKNOWN, str(error)) from None
    if arguments.json:
        print(json.dumps(doctorreport.as_object(findings), indent=2))
    elif sys.stdout.isatty():
        print("\n".join(doctorreport.table(findings, everything=arguments.all, colours=has_colours(sys.stdout))))
    else:
        print("\n".join(doctorreport.plain(findings)))
    return OK if doctorreport.is_healthy(findings) else FAILED
