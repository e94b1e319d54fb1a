"""Make a new job for the revision of another one."""

import argparse

from tinyci.cli import newjob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id or the beginning of it, '@', or a repo")
    newjob.add_wait(parser)


def run(arguments: argparse.Namespace) -> int:
    return newjob.request(arguments, "Retry", job=arguments.job)
