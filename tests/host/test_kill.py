"""The promise: every accepted push ends in exactly one true final state, whatever is killed at whatever moment."""

import random
import time
from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

# Four repos of three users.
REPOS = {"probe": "probe", "probe-second": "probe", "probe-other": "probe-other", "probe-root": "root"}

# Each run leaves its trace, and at its end what it deployed.
SCRIPT = """
echo $TINYCI_JOB $TINYCI_REVISION >>/tmp/chaos/$TINYCI_REPO.ran
echo one; sleep 0.$(($RANDOM % 4)); echo two
echo $TINYCI_REVISION >/tmp/chaos/$TINYCI_REPO.deployed
"""


def daemon(server: TestHost, chance: random.Random) -> None:
    server.sh("systemctl kill --kill-whom=main --signal=KILL tinyci.service; true")


def redis(server: TestHost, chance: random.Random) -> None:
    server.sh("systemctl kill --kill-whom=main --signal=KILL redis-server@tinyci.service; true")


def gate(server: TestHost, chance: random.Random) -> None:
    user = chance.choice(["probe", "probe-other"])
    server.sh(f"systemctl restart tinyci-gate@$(id -u {user}).service")


def manager(server: TestHost, chance: random.Random) -> None:
    user = chance.choice(["probe", "probe-other"])
    # systemd allows this unit five starts in ten seconds.
    server.sh(f"uid=$(id -u {user}); systemctl reset-failed user@$uid; systemctl restart user@$uid", limit=200)


def polkit(server: TestHost, chance: random.Random) -> None:
    server.sh("systemctl kill --signal=KILL polkit.service; true")


def bus(server: TestHost, chance: random.Random) -> None:
    """A user's bus, under its manager and its gate; the system's reads its configuration anew."""
    user = chance.choice(["probe", "probe-other"])
    server.sh("systemctl reload dbus")
    # A bus that is killed more often than its start limit allows stays away, with its socket.
    kill = "systemctl --user reset-failed dbus.service; systemctl --user kill --signal=KILL dbus.service"
    server.as_manager(user, f"({kill}; systemctl --user start dbus.socket; true)")


@pytest.mark.parametrize("kill", [daemon, redis, gate, manager, polkit, bus], ids=lambda kill: kill.__name__)
def test_every_push_ends_once_and_truly(
    server: TestHost, work: Clone, request: pytest.FixtureRequest, kill: Callable[[TestHost, random.Random], None]
) -> None:
    rounds = request.config.getoption("--kills")
    if kill is not daemon:
        rounds = max(3, rounds // 4)
    seed = request.config.getoption("--seed") or random.randrange(1 << 32)
    print(f"kills {rounds}, --seed={seed}")
    chance = random.Random(seed)
    server.sh("rm -rf /tmp/chaos; mkdir -m 1777 /tmp/chaos; systemctl reset-failed polkit.service || true")
    pushes: dict[str, list[str]] = {repo: [] for repo in REPOS}
    revision: dict[str, str] = {}
    for repo in REPOS:
        work(repo).commit({"ci-build.sh": f"#!/bin/bash\n{SCRIPT}"})
    for _ in range(rounds):
        for repo in chance.sample(sorted(REPOS), chance.randint(0, 2)):
            revision[repo] = work(repo).commit({"content": str(chance.random())})
            pushes[repo].append(server.push(work(repo)).job)
        server.sh(f"sleep {chance.random() * 0.6:.3f}")  # the random moment
        kill(server, chance)
    for repo in REPOS:  # a last push of each, so that each has a last one
        revision[repo] = work(repo).commit({"content": str(chance.random())})
        pushes[repo].append(server.push(work(repo)).job)
    check_ends(server, pushes, revision)


def check_ends(server: TestHost, pushes: dict[str, list[str]], revision: dict[str, str]) -> None:
    """Wait for the end of all, and check the promise."""
    server.sh("systemctl reset-failed tinyci.service; systemctl start tinyci.service; true", limit=60)
    states: dict[str, int] = {}
    for repo, jobs in pushes.items():
        outcomes = server.wait_all(jobs, limit=180)
        for job in outcomes:
            states[job["state"]] = states.get(job["state"], 0) + 1
            assert job["success"] == ("true" if job["state"] == "succeeded" else "false"), job
            assert job["state"] in ("succeeded", "superseded"), f"{job['state']}: {job['reason']}\n{job}"
            assert job["reason"] or job["state"] == "succeeded"
        traces = server.sh(f"cat /tmp/chaos/{repo}.ran").split("\n")[:-1]
        runs = [trace.split()[0] for trace in traces]
        for job_id, job in zip(jobs, outcomes, strict=True):
            assert runs.count(job_id) <= int(job.get("attempt", "0")), "at most once per attempt"
            assert (runs.count(job_id) > 0) or job["state"] == "superseded"
        order = [jobs.index(job_id) for job_id in dict.fromkeys(runs)]
        assert order == sorted(order), "in push order"
        assert server.sh(f"cat /tmp/chaos/{repo}.deployed").strip() == revision[repo], "the last push is what runs"
    print(f"{sum(map(len, pushes.values()))} pushes: {states}")
    end = time.monotonic() + 60
    while server.redis("lrange tinyci:accepted 0 -1") not in ([], [""]) or server.sh(
        "ls /run/tinyci/jobs /var/spool/tinyci -A1"
    ).count("json"):
        assert time.monotonic() < end, server.sh("journalctl -u tinyci -n 30 --no-pager")
    for user in ("root", "probe", "probe-other"):
        assert (
            server.systemctl(user, "list-units --all --no-legend --plain 'tinyci-*@*' | grep -v gate || true").out == ""
        )


def test_fifty_pushes_without_redis_come_in_order(server: TestHost, work: Clone) -> None:
    server.sh("rm -rf /tmp/chaos; mkdir -m 1777 /tmp/chaos; systemctl stop redis-server@tinyci")
    pushes: dict[str, list[str]] = {repo: [] for repo in REPOS}
    revision: dict[str, str] = {}
    every: list[str] = []
    try:
        for number in range(50):
            repo = sorted(REPOS)[number % len(REPOS)]
            revision[repo] = work(repo).commit({"ci-build.sh": f"#!/bin/bash\n{SCRIPT}", "content": str(number)})
            one = server.push(work(repo)).job
            pushes[repo].append(one)
            every.append(one)
    finally:
        server.sh("systemctl start redis-server@tinyci")
    check_ends(server, pushes, revision)
    assert [job for job in server.redis("zrange tinyci:jobs 0 -1") if job in every] == every
    entries = server.sh("journalctl -u tinyci -o cat --no-pager TINYCI_STATE=queued").splitlines()
    assert [job for line in entries if (job := line[4:40]) in every] == every, "accepted in push order"


@pytest.mark.parametrize("stage", ["building", "restarting", "verifying"])
def test_a_reboot_in_each_stage(server: TestHost, work: Clone, stage: str) -> None:
    server.sh("rm -rf /var/tmp/chaos; mkdir -m 1777 /var/tmp/chaos")
    slow = (
        "[Service]\nType=notify\nNotifyAccess=all\n"
        'ExecStart=/bin/sh -c "sleep 3; systemd-notify --ready; exec sleep infinity"\n'
        "[Install]\nWantedBy=default.target\n"
    )
    server.sh(
        "cat >/etc/systemd/user/slow.service\n"
        "systemctl --user -M probe@ daemon-reload; systemctl --user -M probe@ enable slow.service",
        stdin=slow,
    )
    try:
        with server.repo_file("probe", units='["slow.service"]', settle='"4s"'):
            work("probe").script("echo run >>/var/tmp/chaos/ran; sleep 2; echo built")
            job = server.push(work("probe")).job
            server.wait(job, (stage,))
            server.sh("until [ -s /var/tmp/chaos/ran ]; do sleep 0.05; done", limit=60)  # what is cut off has begun
            server.host("reboot", server.name)
            outcome = server.wait(job, limit=120)
        assert outcome["state"] == "succeeded", outcome
        runs = len(server.sh("cat /var/tmp/chaos/ran").splitlines())
        assert runs == int(outcome["attempt"]) == (2 if stage == "building" else 1)
        assert server.show("probe", "slow.service", "ActiveState") == "active"
    finally:
        server.sh("systemctl --user -M probe@ disable --now slow.service; rm /etc/systemd/user/slow.service")
