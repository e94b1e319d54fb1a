"""Deploy a repo as it is now, without a push: the ref, or that of its newest job, or the only one that it deploys."""

import argparse

from tinyci.cli import newjob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo", metavar="REPO", help="what to deploy")
    parser.add_argument(
        "ref", nargs="?", default="", metavar="REF", help="the ref, such as refs/heads/main, or a branch"
    )
    newjob.add_wait(parser)


def run(arguments: argparse.Namespace) -> int:
    ref = arguments.ref
    if ref and not ref.startswith("refs/"):
        ref = f"refs/heads/{ref}"
    return newjob.request(arguments, "Run", ref, repo=arguments.repo)
