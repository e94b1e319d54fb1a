"""Nothing grows without bound: after many jobs in a row the daemon, systemd and Redis hold what they held before."""

import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

REPOS = {"probe": "probe", "probe-second": "probe", "probe-other": "probe-other", "probe-root": "root"}
KEPT = 20
AHEAD = 20
"""Jobs that are in Redis already when more are added, so that the daemon never waits for us."""

AT_ONCE = 20
"""What the daemon may ask Redis at once: for as many jobs as it runs, and for the queue."""


@dataclass
class Resources:
    """Resources of the daemon's process."""

    pid: int
    memory: int
    """Resident, in KiB."""
    files: list[str]
    """Its open file descriptors, by what they are, without its connections to Redis."""
    connections: int
    """To Redis: as many as were ever in use at once, since its library keeps them."""

    def __str__(self) -> str:
        return f"{self.memory} KiB resident, {len(self.files)} file descriptors and {self.connections} to Redis"


def resources_of(server: TestHost) -> Resources:
    pid, redis = (int(server.sh(f"systemctl show -P MainPID {unit}")) for unit in ("tinyci", "redis-server@tinyci"))
    memory = server.sh(f"awk '/^VmRSS/ {{ print $2 }}' /proc/{pid}/status")
    files = open_files(server, pid)
    connections = open_files(server, redis).count("socket") - 1  # it listens on one, and nobody else asks it now
    for _ in range(connections):
        files.remove("socket")
    return Resources(pid, int(memory), files, connections)


def open_files(server: TestHost, pid: int) -> list[str]:
    return server.sh(f"for each in /proc/{pid}/fd/*; do readlink $each; done | sed 's/:.*//' | sort").splitlines()


class Feeder:
    """Puts jobs into Redis as a shell script may, each for a ref of its own, so that none supersedes another."""

    def __init__(self, server: TestHost, revisions: dict[str, str]) -> None:
        self.server = server
        self.total = 0
        self._revisions = revisions
        self._open: list[str] = []

    def add(self, count: int) -> None:
        commands = []
        for _ in range(count):
            repo = sorted(self._revisions)[self.total % len(self._revisions)]
            job_id = str(uuid.uuid4())
            ref, revision = f"refs/soak/{self.total}", self._revisions[repo]
            commands.append(f"hset tinyci:job:{job_id} repo {repo} ref {ref} revision {revision}")
            commands.append(f"lpush tinyci:queue {job_id}")
            self._open.append(job_id)
            self.total += 1
        self.server.redis_all(commands)

    def wait_for_backlog(self, count: int) -> None:
        """Wait until no more than so many are left, and see that the others have succeeded."""
        end = time.monotonic() + 300
        while True:
            last = self.server.redis("xrevrange tinyci:events + - count 1")[0]
            states = self.server.redis_all([f"hget tinyci:job:{job_id} state" for job_id in self._open])
            state_of = dict(zip(self._open, states, strict=True))
            self._open = [job_id for job_id, state in state_of.items() if state != "succeeded"]
            assert {state_of[job_id] for job_id in self._open} <= {"", "queued", "building"}
            if len(self._open) <= count:
                return
            assert time.monotonic() < end, self.server.sh("systemctl status tinyci --no-pager; true")
            self.server.redis(f"xread block 5000 count 20 streams tinyci:events {last}")


def test_many_jobs_in_a_row_leave_nothing_behind(server: TestHost, work: Clone, request: pytest.FixtureRequest) -> None:
    jobs = request.config.getoption("--jobs")
    with ExitStack() as stack:
        stack.enter_context(server.config_file(f"[keep]\njobs = {KEPT}\n"))
        for repo in REPOS:
            stack.enter_context(server.repo_file(repo, refs='["refs/heads/*", "refs/soak/*"]'))
        revisions = {}
        for repo in REPOS:
            revisions[repo] = work(repo).script("true")
            server.wait(server.push(work(repo)).job)
        feeder = Feeder(server, revisions)
        feeder.add(2 * AHEAD)  # whatever the daemon makes once and keeps: connections, objects on the bus
        feeder.wait_for_backlog(0)
        before, began = resources_of(server), time.monotonic()
        while feeder.total < jobs:
            feeder.add(min(AHEAD, jobs - feeder.total))
            feeder.wait_for_backlog(AHEAD)
        feeder.wait_for_backlog(0)
        took = time.monotonic() - began
        check_leftovers(server)
        after = resources_of(server)
    print(f"{jobs} jobs, {(jobs - 2 * AHEAD) / took:.1f} in a second")
    print(f"before: {before}\nafter:  {after}")
    assert after.pid == before.pid, "the daemon ran all the time"
    assert after.files == before.files
    assert after.connections <= AT_ONCE
    assert after.memory < before.memory + 8 * 1024


def check_leftovers(server: TestHost) -> None:
    """Wait for the last job to be cleared away, and see what is left: what was to be kept."""
    server.sh('until [ -z "$(ls -A /run/tinyci/jobs)" ]; do sleep 0.1; done', limit=30)
    end = time.monotonic() + 30
    while server.redis("llen tinyci:accepted") != ["0"]:
        assert time.monotonic() < end, server.redis("lrange tinyci:accepted 0 -1")
    for user in set(REPOS.values()):
        assert (
            server.systemctl(user, "list-units --all --no-legend --plain 'tinyci-*@*' | grep -v gate || true").out == ""
        )
    server.sh("systemctl reload tinyci")  # looks for what was kept for long enough
    while True:
        ids = server.keys("tinyci:job:*")
        count = Counter(server.redis_all([f"hget tinyci:job:{job_id} repo" for job_id in ids]))
        if max(count.values()) <= KEPT:
            break
        assert time.monotonic() < end, count
    assert sorted(server.redis("zrange tinyci:jobs 0 -1")) == ids
    assert set(server.keys("tinyci:log:*")) <= set(ids)
