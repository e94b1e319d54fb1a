"""A job runs by the repo's file that is in force when it begins, or is rejected with a sentence; the queue goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

MANAGER = "org.tinyci1 /org/tinyci1 org.tinyci1.Manager"
FILE = "/etc/tinyci/repos.d/probe.toml"


@contextmanager
def paused(server: TestHost) -> Iterator[None]:
    """Let pushes wait while the block runs, so that what it changes is changed under them."""
    server.sh(f"busctl call {MANAGER} Pause")
    try:
        yield
    finally:
        server.sh(f"busctl call {MANAGER} Resume")


@pytest.fixture
def restored_file(server: TestHost) -> Iterator[None]:
    """Restore the repo's file after the test."""
    server.sh(f"cp {FILE} /root/probe.toml")
    yield
    server.sh(f"cp /root/probe.toml {FILE}; systemctl reload tinyci")


def deploy_with_change(server: TestHost, work: Clone, change: str) -> dict[str, str]:
    """A job of the repo `probe` for which that was done while it waited; the next job in the queue has succeeded."""
    work("probe-other").script("echo the queue goes on")
    with paused(server):
        job = server.push(work("probe")).job
        other = server.push(work("probe-other")).job
        server.sh(f"set -e; {change}\nsystemctl reload tinyci")
    outcome = server.wait(job)
    assert server.wait(other)["output"] == "the queue goes on\n"
    assert server.redis(f"lpos tinyci:accepted {job}") == [""]
    return outcome


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (f"rm {FILE}", f"there is no repo probe: no file {FILE}"),
        (f"echo 'user = 7' >{FILE}", f"{FILE}: repository: expected the absolute path of a bare repository"),
        (
            f"""echo 'refs = ["refs/heads/live"]' >>{FILE}; sed -i '/^refs.*master/d' {FILE}""",
            "deploys refs/heads/live, not",
        ),
    ],
    ids=["removed", "wrong", "another ref"],
)
def test_a_job_that_can_no_longer_run_is_rejected(
    server: TestHost, work: Clone, restored_file: None, change: str, reason: str
) -> None:
    work("probe").script("echo never")
    outcome = deploy_with_change(server, work, change)
    assert (outcome["state"], outcome["success"], outcome["output"]) == ("rejected", "false", "")
    assert reason in outcome["reason"]


def test_a_job_runs_as_the_user_of_the_file_in_force(server: TestHost, work: Clone, restored_file: None) -> None:
    work("probe").script("id -un")
    outcome = deploy_with_change(server, work, f"""sed -i 's/^user = .*/user = "root"/' {FILE}""")
    assert (outcome["state"], outcome["output"], outcome["user"]) == ("succeeded", "root\n", "root")


def test_a_job_restarts_the_units_and_keeps_the_time_of_the_file_in_force(
    server: TestHost, work: Clone, restored_file: None
) -> None:
    server.sh(
        "printf '[Service]\\nExecStart=sleep infinity\\n' | tee /etc/systemd/user/before.service "
        ">/etc/systemd/user/after.service; systemctl --user -M probe@ daemon-reload"
    )
    try:
        server.sh(f"""sed -i 's/^units = .*/units = ["before.service"]/' {FILE}; systemctl reload tinyci""")
        work("probe").script("true")
        units = f"""sed -i 's/^units = .*/units = ["after.service"]/' {FILE}; echo 'settle = "0s"' >>{FILE}"""
        assert deploy_with_change(server, work, units)["state"] == "succeeded"
        assert server.show("probe", "after.service", "ActiveState") == "active"
        assert server.show("probe", "before.service", "InvocationID") == ""
        work("probe").script("sleep 100")
        outcome = deploy_with_change(server, work, f"""echo 'timeout = "1s"' >>{FILE}""")
        assert (outcome["state"], outcome["success"]) == ("timed-out", "false")
    finally:
        server.sh("systemctl --user -M probe@ stop before after; rm /etc/systemd/user/{before,after}.service")


def test_a_job_goes_on_by_the_file_that_it_began_with(server: TestHost, work: Clone, restored_file: None) -> None:
    """Also when that is removed, and the daemon killed: what it runs is told by systemd, and it ends."""
    server.fifo("/tmp/changes.fifo")
    work("probe").script("echo begun; timeout 60 cat /tmp/changes.fifo; echo over")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    server.sh(f"rm {FILE}; systemctl reload tinyci; timeout 10 sh -c ': >/tmp/changes.fifo'")
    outcome = server.wait(job)
    assert (outcome["state"], outcome["output"]) == ("succeeded", "begun\nover\n")


def test_a_running_job_whose_repo_is_gone_for_a_new_daemon_fails(
    server: TestHost, work: Clone, restored_file: None
) -> None:
    work("probe").script("echo begun; sleep 1000")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    unit = server.job(job)["unit"]
    server.sh(f"rm {FILE}")
    server.kill("tinyci")
    outcome = server.wait(job)
    assert (outcome["state"], outcome["success"]) == ("failed", "false")
    assert outcome["reason"] == f"while it was building: there is no repo probe: no file {FILE}"
    server.sh(f"until [ ! -e /run/tinyci/jobs/{job.replace('-', '')}.json ]; do sleep 0.1; done", limit=40)
    assert server.systemctl("probe", f"is-active {unit}").out == "inactive\n"
    assert server.redis(f"lpos tinyci:accepted {job}") == [""]


@pytest.mark.parametrize("is_collected", [True, False])
def test_a_revision_that_vanished_while_it_waited_is_rejected(
    server: TestHost, work: Clone, *, is_collected: bool
) -> None:
    clone = work("probe")
    clone.script("echo kept")
    server.wait(server.push(clone).job)
    clone.git("checkout", "-q", "-B", "vanishing")
    revision = clone.script("echo never")
    collect = "git reflog expire --expire=now --all; git gc -q --prune=now" if is_collected else "true"
    work("probe-other").script("echo the queue goes on")
    with paused(server):
        job = server.push(clone, "HEAD:refs/heads/release-1").job
        other = server.push(work("probe-other")).job
        # Not by a push: that would be a newer job of the same ref.
        server.sh(f"cd /srv/git/probe.git && git update-ref -d refs/heads/release-1 && {collect}", "git")
        there = server.run(f"cd /srv/git/probe.git && git cat-file -e {revision}", "git").status == 0
        assert there is not is_collected
    clone.git("checkout", "-q", "master")
    outcome = server.wait(job)
    assert (outcome["state"], outcome["success"]) == ("rejected", "false")
    assert f"revision {revision} is not in /srv/git/probe.git" in outcome["reason"]
    assert server.wait(other)["output"] == "the queue goes on\n"


def test_of_two_forced_pushes_the_later_one_is_deployed(server: TestHost, work: Clone) -> None:
    clone = work("probe")
    clone.script("echo kept")
    server.wait(server.push(clone).job)
    with paused(server):
        clone.script("echo taken back")
        first = server.push(clone).job
        clone.git("reset", "-q", "--hard", "HEAD~1")
        clone.script("echo instead")
        second = server.push(clone).job
        server.sh("cd /srv/git/probe.git && git reflog expire --expire=now --all && git gc -q --prune=now", "git")
    assert server.wait(second)["output"] == "instead\n"
    assert server.job(first)["state"] == "superseded"
