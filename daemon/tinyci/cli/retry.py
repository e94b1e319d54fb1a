"""Makes a new job for the revision of another one."""

import argparse

from tinyci.cli import asking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id or the beginning of it, '@', or a repo")
    asking.add_wait(parser)


def run(arguments: argparse.Namespace) -> int:
    return asking.for_a_job(arguments, "Retry", job=arguments.job)
