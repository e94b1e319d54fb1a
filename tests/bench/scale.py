"""Rows about what must not grow: a push to a big tree, to one with much history, and beside many repos."""

import subprocess
from collections.abc import Iterator

from benchhost import SCRIPT, BenchHost, Work
from measurement import Row, Sample, milliseconds
from pushes import job_of, local_pushes

RATIO = 1.2
FILES = 20_000
REVISIONS, BLOB = 500, 1_000_000
OTHER_REPOS = 200


def scale(host: BenchHost) -> Iterator[Row]:
    """Measure pushes to repositories small and big, in turn, each with three files changed."""
    small, many, history = host.work("probe-1"), host.work("many-files"), host.work("long-history")
    small.script(SCRIPT)
    many.commit({f"more/{number // 50}/{number}": f"{number}\n" * 50 for number in range(FILES - 1000)})
    add_history(history)
    seconds: dict[str, list[float]] = {work.repo: [] for work in (small, many, history)}
    usage: dict[str, list[float]] = {repo: [] for repo in seconds}
    for number in range(host.count + 1):
        for work in (small, many, history):
            work.commit({f"files/0/{file}": f"change {number}\n" for file in range(3)})
            before = user_cpu(host)
            begin, _, text = host.timed_push(work)
            seconds[work.repo].append(host.wait_for_first_line() - begin)
            host.wait(job_of(text))
            usage[work.repo].append(user_cpu(host) - before)
    what = {"many-files": f"{FILES:,} files", "long-history": f"{REVISIONS * BLOB // 1_000_000} MB of history"}
    for repo, name in what.items():
        reference, product = (milliseconds(seconds[each][1:]) for each in ("probe-1", repo))
        yield Row(f"{name}: push start to the script's first line", reference, product, RATIO)
        cpu_reference, cpu_product = (Sample(tuple(usage[each][1:]), "ms") for each in ("probe-1", repo))
        yield Row(f"{name}: CPU of the repo's user", cpu_reference, cpu_product, RATIO)


def user_cpu(host: BenchHost) -> float:
    return host.cpu({"user": "user.slice/user-$(id -u probe-1).slice"})["user"]


def add_history(work: Work) -> None:
    """Give a clone many commits, each with a new version of one file that cannot be compressed."""
    work.git("config", "core.compression", "0")
    importer = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=work.path, stdin=subprocess.PIPE)
    assert importer.stdin
    importer.stdin.write(b"reset refs/heads/master\nfrom refs/heads/master^0\n\n")
    with open("/dev/urandom", "rb") as noise:
        for number in range(REVISIONS):
            header = (
                f"commit refs/heads/master\ncommitter A Person <person@example.org> {1_700_000_000 + number} +0000\n"
            )
            importer.stdin.write(f"{header}data 1\nx\nM 644 inline noise\ndata {BLOB}\n".encode())
            importer.stdin.write(noise.read(BLOB) + b"\n")
    importer.stdin.close()
    assert importer.wait() == 0
    work.git("reset", "--quiet", "--hard")


def repos(host: BenchHost) -> Iterator[Row]:
    """Measure a push's cost on the host itself, alone and beside the files of many other repos."""
    host.work("probe-1").script("true")
    host.timed_push(host.work("probe-1"))
    reference = milliseconds(local_pushes(host, ["probe-1"])["probe-1"])
    others = "/etc/tinyci/repos.d/other-$number.toml"
    every = f"for number in $(seq {OTHER_REPOS}); do"
    make = f"sed s/probe-1.git/other-$number.git/ /etc/tinyci/repos.d/probe-1.toml >{others}"
    host.sh(f"{every} {make}; done; systemctl reload tinyci")
    try:
        product = milliseconds(local_pushes(host, ["probe-1"])["probe-1"])
    finally:
        host.sh(f"{every} rm {others}; done; systemctl reload tinyci")
    yield Row(f"{OTHER_REPOS} other repos: a push without SSH", reference, product, RATIO)
