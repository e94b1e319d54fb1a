"""Deploy a repo's images again that ran before, without a build."""

import argparse

from tinyci.cli import newjob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("repo", nargs="?", metavar="REPO", help="back to what ran before its newest success")
    which.add_argument("--to", metavar="JOB", help="back to what this job deployed; its id or the beginning of it")
    newjob.add_wait(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.to:
        return newjob.request(arguments, "RollbackTo", job=arguments.to)
    return newjob.request(arguments, "Rollback", repo=arguments.repo)
