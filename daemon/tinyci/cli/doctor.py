"""`tinyci doctor`: everything that a deploy stands on, and for what is wrong the command that mends it."""

import argparse
import asyncio
import sys

from tinyci.doctor import report
from tinyci.doctor.examination import NoSuchSubject, examine

UNKNOWN = 3
"""Exit status when there is nothing to say: no such repo or user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", default="", metavar="REPO|USER", help="only this one, and the host")
    parser.add_argument("--all", action="store_true", help="also tell what holds, one line each")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0 when nothing is wrong, 1 when something is."""
    try:
        findings = asyncio.run(examine(arguments.subject))
    except NoSuchSubject as error:
        print(f"tinyci: {error}", file=sys.stderr)
        return UNKNOWN
    if arguments.json:
        print(report.as_json(findings))
    else:
        lines = report.table(findings, arguments.all) if sys.stdout.isatty() else report.plain(findings)
        print("\n".join(lines))
    return 0 if report.is_healthy(findings) else 1
