"""A user, a manager or a gate that is not there is named with the command that mends it, and holds up nobody else."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

MANAGER = "org.tinyci1 /org/tinyci1 org.tinyci1.Manager"
PATIENCE = 60

# What is done to the user of a repo while its job waits, and what is told of it. Each has a name in place of {user}.
GONE = {
    "deleted": (
        "loginctl disable-linger {user}; systemctl disable --now tinyci-gate@{uid}; systemctl stop user@{uid}; "
        "userdel {user}",
        "there is no user {user} on this host: create it, or change 'user' in the repo's file",
    ),
    "unlingering": (
        "loginctl disable-linger {user}; systemctl stop user@{uid}",
        "user {user} does not linger, so its manager is not up: run 'loginctl enable-linger {user}'",
    ),
    "ungated": (
        "systemctl disable --now tinyci-gate@{uid}",
        "user {user} has no gate: run 'systemctl enable --now tinyci-gate@{uid}.service'",
    ),
    "masked": (
        "systemctl mask --now user@{uid}",
        "the manager of user {user} is masked: "
        "run 'systemctl unmask user@{uid}.service && systemctl start user@{uid}.service'",
    ),
    "killed": (
        # systemd's own, in the service's cgroup; its exit status is what "failed" comes from.
        "systemctl kill --kill-whom=main --signal=KILL user@{uid}; "
        "until systemctl is-failed -q user@{uid}; do sleep 0.1; done",
        "the manager of user {user} has failed (signal): run 'systemctl restart user@{uid}.service'; "
        "'journalctl -u user@{uid}.service' tells why",
    ),
    "stopped": (
        "systemctl stop user@{uid}",
        "the manager of user {user} is not up: run 'systemctl start user@{uid}.service'",
    ),
}

MAKE = """
useradd --system --create-home --home-dir /var/lib/$1 $1
loginctl enable-linger $1
systemctl enable --now tinyci-gate@$(id -u $1)
id -u $1
"""
REPO = """
cat >/etc/tinyci/repos.d/$1.toml <<END
repository = "/srv/git/absence.git"
user = "$1"
END
"""
UNMAKE = """
rm -f /etc/tinyci/repos.d/$1.toml
uid=$(stat -c %u /var/lib/$1) || exit 0
loginctl disable-linger $1; rm -f /var/lib/systemd/linger/$1
systemctl unmask user@$uid; systemctl disable --now tinyci-gate@$uid; systemctl stop user@$uid
systemctl reset-failed user@$uid tinyci-gate@$uid
userdel --remove $1; rm -rf /var/lib/$1
true
"""


@pytest.fixture
def users(server: TestHost, work: Clone) -> Iterator[dict[str, str]]:
    """A user and a repo for each way of not being there; the uids by the name that both have."""
    work("probe-root").script("true")
    server.wait(server.push(work("probe-root")).job)
    server.sh(
        "set -e; rm -rf /srv/git/absence.git; cp -r /srv/git/probe-root.git /srv/git/absence.git; "
        "chmod -R a+rX /srv/git/absence.git; cp /etc/tinyci/tinyci.toml /root/tinyci.toml"
    )
    try:
        uids = {}
        for name in GONE:
            user = f"absent-{name}"
            uids[user] = server.sh(f"set -e -- {user}\n{MAKE}{REPO}").split()[-1]
        server.sh(f"set -- absent-unborn\n{REPO}")
        # All of them wait at the same time, and others are to go on.
        server.sh("sed -i 's/^parallel = .*/parallel = 12/' /etc/tinyci/tinyci.toml; systemctl reload tinyci")
        yield uids
    finally:
        server.sh("cp /root/tinyci.toml /etc/tinyci/tinyci.toml; rm -rf /srv/git/absence.git")
        for user in [*(f"absent-{name}" for name in GONE), "absent-unborn"]:
            server.sh(f"set -- {user}\n{UNMAKE}")
        server.sh("systemctl reload tinyci")


def test_who_is_not_there_is_named_and_nobody_else_waits(server: TestHost, work: Clone, users: dict[str, str]) -> None:
    revision = work("probe-root").git("rev-parse", "HEAD")

    def queue(repo: str) -> str:
        job_id = server.sh("cat /proc/sys/kernel/random/uuid").strip()
        server.redis(f"hset tinyci:job:{job_id} repo {repo} ref refs/heads/master revision {revision}")
        server.redis(f"lpush tinyci:queue {job_id}")
        return job_id

    server.sh(f"busctl call {MANAGER} Pause")
    try:
        jobs = {user: queue(user) for user in [*users, "absent-unborn"]}
        for name, (away, _) in GONE.items():
            user = f"absent-{name}"
            server.sh(away.format(user=user, uid=users[user]))
    finally:
        server.sh(f"busctl call {MANAGER} Resume")
    began = time.monotonic()
    # The first job of a user, and the second, which waits for the first: as many others as are pushed go on.
    for content in ("a", "b"):
        work("probe-root").commit({"content": content})
        assert server.wait(server.push(work("probe-root")).job)["state"] == "succeeded"
    assert time.monotonic() - began < PATIENCE / 2
    outcomes = {user: server.wait(job_id, limit=PATIENCE + 30) for user, job_id in jobs.items()}
    assert time.monotonic() - began < PATIENCE + 30
    ends = {user: (job["state"], job["success"], job["reason"]) for user, job in outcomes.items()}
    assert ends == {
        **{
            f"absent-{name}": ("failed", "false", sentence.format(user=f"absent-{name}", uid=users[f"absent-{name}"]))
            for name, (_, sentence) in GONE.items()
        },
        "absent-unborn": (
            *("failed", "false"),
            "there is no user absent-unborn on this host: create it, or change 'user' in the repo's file",
        ),
    }
    again = {}
    for user, job in outcomes.items():
        if command := re.search(r"run '([^']+)'", job["reason"]):
            server.sh(command[1], limit=60)
            path = server.sh(f"busctl call {MANAGER} Retry s {jobs[user]}")
            again[user] = re.sub(r'.*/_(.{8})(.{4})(.{4})(.{4})(.{12})".*', r"\1-\2-\3-\4-\5", path.strip())
    assert len(again) == len(GONE) - 1
    outcomes_again = {user: server.wait(job_id) for user, job_id in again.items()}
    assert {job["state"] for job in outcomes_again.values()} == {"succeeded"}, outcomes_again


def test_what_an_ended_job_left_is_cleared_away_when_its_manager_is_back(server: TestHost, work: Clone) -> None:
    """It ended, and its user's manager is away before the rest is cleared away: others' jobs do not wait for that."""
    server.fifo("/tmp/absence.fifo")
    work("probe").script("echo begun; timeout 60 cat /tmp/absence.fifo")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    gate = f"tinyci-gate@{server.sh('id -u probe').strip()}"
    unit = server.job(job)["unit"]
    server.sh(f"systemctl stop tinyci {gate}.service")
    server.redis(f"hset tinyci:job:{job} state cancelled success false")  # as a daemon that was killed right after
    try:
        server.sh("systemctl start tinyci")
        work("probe-root").script("true")
        assert server.wait(server.push(work("probe-root")).job, limit=20)["state"] == "succeeded"
        assert server.redis("lrange tinyci:accepted 0 -1") == [job]
        assert server.systemctl("probe", f"is-active {unit}").out == "activating\n"
    finally:
        server.sh(f"systemctl start {gate}")
    end = time.monotonic() + 40
    while server.redis("llen tinyci:accepted") != ["0"]:
        assert time.monotonic() < end
    assert server.systemctl("probe", "list-units --all --no-legend --plain 'tinyci-build@*'").out == ""
