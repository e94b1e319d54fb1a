"""The build context: the checkout as a container sees it that it was copied into."""

from collections.abc import Callable

import pytest
from testhost import TestHost, Work

SCRIPT = """#!/bin/sh
set -eu
mkdir -p runtime/bin
cp /usr/bin/busybox runtime/bin
{ command -v git; ldd "$(command -v git)" | grep -o '/[^ ]*'; } | xargs cp --parents --dereference -t runtime
# Root has higher limits by default than a host in a container may give.
build="podman build --layers=false --ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
$build --tag context:own .
$build --tag context:lent --volume REPOSITORY:REPOSITORY:ro --file Lent .
podman rmi context:own context:lent
"""
ASK = """FROM scratch
COPY runtime /
COPY . /src
WORKDIR /src
RUN ["/bin/busybox", "sh", "-c", "for ask in {asks}; do echo \\"$ask = $(git $ask 2>&1)\\"; done"]
"""
QUESTIONS = (
    "rev-parse HEAD^{tree}",
    "describe --tags --dirty",
    "log --oneline",
    "status --porcelain",
    "show -s --format=%s",
)


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_git_works_in_a_container_that_the_checkout_was_copied_into(
    server: TestHost, work: Callable[[str], Work], repo: str
) -> None:
    clone = work(repo)
    quoted = " ".join(f"'{question}'" for question in QUESTIONS)
    files = {
        ".gitignore": "runtime\n",
        "Containerfile": ASK.format(asks=quoted),
        "Lent": ASK.format(asks="'show HEAD^:old'"),
        "ci-build.sh": SCRIPT.replace("REPOSITORY", f"/srv/git/{repo}.git"),
    }
    clone.commit({"old": "first\n"})
    clone.git("tag", "--annotate", "--message=x", f"{repo}-1.0")
    clone.commit({"old": "second\n", **files}, "With $(no) quote")
    server.push(clone, f"{repo}-1.0")
    try:
        job = server.deploy(clone)
    finally:
        clone.git("rm", "-q", *files, "old")
        clone.commit({}, "As before")
    assert job["state"] == "succeeded", job
    lines = [line.rstrip() for line in job["output"].splitlines()]
    tree = clone.git("rev-parse", f"{job['revision']}^{{tree}}")
    short = clone.git("rev-parse", "--short", job["revision"])
    log = clone.git("log", "--oneline", job["revision"]).splitlines()
    for answer in (
        f"rev-parse HEAD^{{tree}} = {tree}",
        f"describe --tags --dirty = {repo}-1.0-1-g{short}",
        f"log --oneline = {log[0]}",
        *log[1:],
        "status --porcelain =",
        "show -s --format=%s = With $(no) quote",
        "show HEAD^:old = first",
    ):
        assert answer in lines, answer
