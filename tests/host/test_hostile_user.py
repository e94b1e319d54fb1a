"""A user who attacks all day: the deploys of two others succeed, if more slowly, and the daemon keeps its limits.

All at once, as the uid of an app with a repo, a gate and a manager of its own: a bus in the place of the user's own
that lies, hangs and floods by turns; a gate that is killed again and again; 2 GB of output; a fork bomb; a home that is
filled; a journal that is flooded; 1,000 questions to org.tinyci1; and pushes all the while. His own build starts it.

Where this machine keeps its controllers in cgroup v1, the host has none: hostileuser/controllers.py then enforces the
limits of its units from outside. Three things bound the attack whatever the units say, for this machine's sake: the
bomb's limit of processes, the tasks of a user's slice, and a small file system as the user's home.

How long the others' deploys take is compared by a soak on a quiet machine: a few deploys have no median, and where
something else runs they wait for that as well. Each run prints the times.
"""

import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from hostileuser.controllers import Controllers, has_outer_controllers, has_own_controllers
from hostileuser.others import Others
from testhost import HERE, TestHost, Work
from throwawayhost import ThrowawayHost
from tinyci.model.state import FINAL

Clone = Callable[[str], Work]

HOSTILE = "hostile"
NEIGHBOURS = ("hello-quadlet", "hello-generated")
COUNTS = "/tmp/hostile-counts"
HOME = "/var/lib/hostile"
HOME_SIZE = "300m"
TASKS = 4096
SOAK = 300
"""Seconds of an attack from which on the times of deploys are compared."""
QUIET = 0.15
"""Part of this machine's processors that others may take."""
LIMIT = 256 << 20
"""Bytes: MemoryMax= of tinyci.service."""


@dataclass
class Neighbour:
    """Another user, who deploys again and again."""

    server: TestHost
    work: Work
    times: list[float] = field(default_factory=list)
    """Seconds of each deploy, from the push to the end of its job."""
    stages: list[tuple[float, ...]] = field(default_factory=list)
    """Seconds of each deploy's build, restart and verification."""

    def deploy(self) -> None:
        self.work.commit({"www/index.html": f"{time.monotonic_ns()}\n"})
        begin = time.time()
        job_id = self.server.push(self.work).job
        # One question, and not some at each event of the host: these tests run on the machine that they measure.
        waiting = self.server.run(f"tinyci wait {job_id}", limit=300)
        job = self.server.job(job_id)
        if job.get("state") not in FINAL:  # the attack may be upon the daemon's answers as well
            print(f"tinyci wait ended with status {waiting.status}: {waiting.err.strip()}")
            job = self.server.wait(job_id, limit=300)
        assert job["state"] == "succeeded", f"{job['reason']}\n{job['output'][-2000:]}"
        self.times.append(datetime.fromisoformat(job["finished"]).timestamp() - begin)
        self.stages.append(tuple(float(job[f"{stage}_duration"]) for stage in ("build", "restart", "verify")))

    def deploy_for(self, seconds: float) -> None:
        """Deploy for that long, at least once."""
        self.times, self.stages = [], []
        end = time.monotonic() + seconds
        while not self.times or time.monotonic() < end:
            self.deploy()


def deploy_together(neighbours: list[Neighbour], seconds: float) -> list[list[float]]:
    """Let all of them deploy at the same time, and return how long each deploy of each took."""
    errors: list[BaseException] = []

    def run(neighbour: Neighbour) -> None:
        try:
            neighbour.deploy_for(seconds)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in neighbours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    for each in neighbours:
        medians = [statistics.median(times) for times in zip(*each.stages, strict=True)]
        print("build, restart, verification: " + ", ".join(f"{seconds:.1f} s" for seconds in medians))
    return [each.times for each in neighbours]


def summary(times: list[float]) -> str:
    return f"median {statistics.median(times):.1f} s of {len(times)} ({min(times):.1f} to {max(times):.1f})"


class DaemonMemory:
    """The most memory that the daemon's process has had since this began."""

    def __init__(self, server: TestHost) -> None:
        machine = ThrowawayHost(server.name).machine
        group = machine.cgroup / "machine/payload/tinyci.slice/tinyci.service/cgroup.procs"
        self._process = Path("/proc") / group.read_text().split()[0]
        (self._process / "clear_refs").write_text("5")  # the peak begins anew: proc(5)

    def peak(self) -> int:
        """Return bytes, resident."""
        status = dict(line.split(":", 1) for line in (self._process / "status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) * 1024


@contextmanager
def limits(server: TestHost) -> Iterator[None]:
    """See to it that the limits of the host's units hold."""
    if has_own_controllers(server):
        yield
        return
    if not has_outer_controllers():
        pytest.skip("neither the host nor this machine has the controllers cpu, memory and pids")
    with Controllers(server, HOSTILE, TASKS).enforced():
        yield


@contextmanager
def small_home(server: TestHost) -> Iterator[None]:
    """Give the hostile user a home that can be filled."""
    server.sh(
        f"rm -rf {COUNTS}; install -d -o {HOSTILE} {COUNTS}\n"
        f"mount -t tmpfs -o size={HOME_SIZE},mode=700,uid=$(id -u {HOSTILE}),gid=$(id -g {HOSTILE}) hostile {HOME}"
    )
    try:
        yield
    finally:
        server.sh(f"umount -l {HOME}; rm -rf {COUNTS}")


@contextmanager
def attack(server: TestHost, work: Work) -> Iterator[list[str]]:
    """Let the user attack while the block runs, and end all that he runs after it. Yields the ids of his jobs."""
    jobs: list[str] = []
    programs = {f"attack/{file.name}": file.read_text() for file in (HERE / "hostileuser").glob("*.py")}
    script = f"#!/bin/sh\nexec python3 -B attack/attack.py {HOSTILE} {COUNTS}\n"
    work.commit({**programs, "ci-build.sh": script})
    stop = threading.Event()

    def push_on() -> None:
        # Not more often: it is this machine that pushes, and what that takes is not the attacker's.
        while not stop.wait(10):
            work.commit({})
            jobs.extend(server.push(work).jobs)

    pusher = threading.Thread(target=push_on)
    try:
        jobs.extend(server.push(work).jobs)
        files = " ".join(f"{COUNTS}/{name}" for name in ("questions", "journal", "disk", "bomb", "bus", "output"))
        server.sh(f"for file in {files}; do until [ -e $file ]; do sleep 0.1; done; done", limit=60)
        pusher.start()
        yield jobs
    finally:
        stop.set()
        if pusher.is_alive():
            pusher.join()
        end_attack(server, jobs)


def end_attack(server: TestHost, jobs: list[str]) -> None:
    """Do what an administrator does with a user who went mad: kill all that he runs, and cancel his jobs, of which the
    one that was cut off would begin again with his manager."""
    uid = server.sh(f"id -u {HOSTILE}").strip()
    server.sh(f"systemctl kill --signal=KILL user@{uid}.service; systemctl stop user@{uid}.service", limit=200)
    server.sh(f"while pgrep -u {HOSTILE}; do sleep 0.1; done", limit=60)
    states = {job: server.job(job).get("state") for job in jobs}
    live_jobs = [job for job, state in states.items() if state and state not in FINAL]  # the oldest are forgotten
    cancellations = [threading.Thread(target=server.run, args=(f"tinyci cancel {job}",)) for job in live_jobs]
    end = time.monotonic() + 60
    for each in cancellations:
        each.start()
    for job in live_jobs:
        while not {"intent", "finished"} & server.job(job).keys():
            assert time.monotonic() < end, server.job(job)
    server.sh(f"systemctl start user@{uid}.service tinyci-gate@{uid}.service", limit=120)
    for each in cancellations:
        each.join()


def counts_of(server: TestHost) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in server.sh(f"cat {COUNTS}/* | sed 's/}}{{/}}\\n{{/g'").splitlines():
        counts.update(json.loads(line))
    return counts


def test_a_user_who_attacks_stops_no_deploy_of_others(
    server: TestHost, work: Clone, request: pytest.FixtureRequest
) -> None:
    seconds = 60 * request.config.getoption("--hostile-minutes")
    neighbours = [Neighbour(server, work(name)) for name in NEIGHBOURS]
    hostile = work(HOSTILE)
    for each in neighbours:
        each.deploy()
    restarts = server.sh("systemctl show -P NRestarts tinyci")
    machine = ThrowawayHost(server.name).machine.name
    with ExitStack() as stack:
        stack.enter_context(limits(server))
        stack.enter_context(small_home(server))
        others = Others(machine)
        before = deploy_together(neighbours, seconds / 5)
        shares = [others.share()]
        memory = DaemonMemory(server)
        with attack(server, hostile) as jobs:
            others = Others(machine)
            during = deploy_together(neighbours, seconds)
            shares.append(others.share())
            counts = counts_of(server)
        peak = memory.peak()
    for name, times_before, times_during in zip(NEIGHBOURS, before, during, strict=True):
        print(f"{name}: before {summary(times_before)}; during {summary(times_during)}")
    print(f"the daemon had {peak >> 20} MiB at most; {len(jobs)} pushes of the hostile user")
    print(", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    print(f"others took {shares[0]:.0%} of the machine before, and {shares[1]:.0%} during the attack")
    hostile.script("echo honest")
    honest = server.deploy(hostile, limit=180)
    assert honest["state"] == "succeeded", honest
    assert server.sh("systemctl show -P NRestarts tinyci") == restarts
    assert peak < LIMIT
    if seconds < SOAK:
        return
    if max(shares) > QUIET:
        pytest.skip(f"others took {max(shares):.0%} of this machine: how long deploys took tells nothing")
    for times_before, times_during in zip(before, during, strict=True):
        assert statistics.median(times_during) <= 2 * statistics.median(times_before)
