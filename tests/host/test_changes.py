"""A job runs by the repo's file that is in force when it begins, or is rejected with a sentence; the queue goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

MANAGER = "org.tinyci1 /org/tinyci1 org.tinyci1.Manager"
FILE = "/etc/tinyci/repos.d/probe.toml"


@contextmanager
def paused(box: TestHost) -> Iterator[None]:
    """What is pushed meanwhile waits, and what is changed meanwhile is changed under it."""
    box.sh(f"busctl call {MANAGER} Pause")
    try:
        yield
    finally:
        box.sh(f"busctl call {MANAGER} Resume")


@pytest.fixture
def kept(box: TestHost) -> Iterator[None]:
    """The repo's file is as it was afterwards."""
    box.sh(f"cp {FILE} /root/probe.toml")
    yield
    box.sh(f"cp /root/probe.toml {FILE}; systemctl reload tinyci")


def changed(box: TestHost, work: Clone, change: str) -> dict[str, str]:
    """A job of the repo `probe` for which that was done while it waited; the next job in the queue has succeeded."""
    work("probe-other").script("echo the queue goes on")
    with paused(box):
        job = box.push(work("probe")).job
        other = box.push(work("probe-other")).job
        box.sh(f"set -e; {change}\nsystemctl reload tinyci")
    done = box.wait(job)
    assert box.wait(other)["output"] == "the queue goes on\n"
    assert box.redis(f"lpos tinyci:accepted {job}") == [""]
    return done


@pytest.mark.parametrize(
    ("change", "told"),
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
    box: TestHost, work: Clone, kept: None, change: str, told: str
) -> None:
    work("probe").script("echo never")
    done = changed(box, work, change)
    assert (done["state"], done["success"], done["output"]) == ("rejected", "false", "")
    assert told in done["reason"]


def test_a_job_runs_as_the_user_of_the_file_in_force(box: TestHost, work: Clone, kept: None) -> None:
    work("probe").script("id -un")
    done = changed(box, work, f"""sed -i 's/^user = .*/user = "root"/' {FILE}""")
    assert (done["state"], done["output"], done["user"]) == ("succeeded", "root\n", "root")


def test_a_job_restarts_the_units_and_keeps_the_time_of_the_file_in_force(
    box: TestHost, work: Clone, kept: None
) -> None:
    box.sh(
        "printf '[Service]\\nExecStart=sleep infinity\\n' | tee /etc/systemd/user/before.service "
        ">/etc/systemd/user/after.service; systemctl --user -M probe@ daemon-reload"
    )
    try:
        box.sh(f"""sed -i 's/^units = .*/units = ["before.service"]/' {FILE}; systemctl reload tinyci""")
        work("probe").script("true")
        units = f"""sed -i 's/^units = .*/units = ["after.service"]/' {FILE}; echo 'settle = "0s"' >>{FILE}"""
        assert changed(box, work, units)["state"] == "succeeded"
        assert box.show("probe", "after.service", "ActiveState") == "active"
        assert box.show("probe", "before.service", "InvocationID") == ""
        work("probe").script("sleep 100")
        done = changed(box, work, f"""echo 'timeout = "1s"' >>{FILE}""")
        assert (done["state"], done["success"]) == ("timed-out", "false")
    finally:
        box.sh("systemctl --user -M probe@ stop before after; rm /etc/systemd/user/{before,after}.service")


def test_a_job_goes_on_by_the_file_that_it_began_with(box: TestHost, work: Clone, kept: None) -> None:
    """Also when that is removed, and the daemon killed: what it runs is told by systemd, and it ends."""
    box.fifo("/tmp/changes.fifo")
    work("probe").script("echo begun; timeout 60 cat /tmp/changes.fifo; echo over")
    job = box.push(work("probe")).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    box.sh(f"rm {FILE}; systemctl reload tinyci; timeout 10 sh -c ': >/tmp/changes.fifo'")
    done = box.wait(job)
    assert (done["state"], done["output"]) == ("succeeded", "begun\nover\n")


def test_a_running_job_whose_repo_is_gone_for_a_new_daemon_fails(box: TestHost, work: Clone, kept: None) -> None:
    work("probe").script("echo begun; sleep 1000")
    job = box.push(work("probe")).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    unit = box.job(job)["unit"]
    box.sh(f"rm {FILE}")
    box.kill("tinyci")
    done = box.wait(job)
    assert (done["state"], done["success"]) == ("failed", "false")
    assert done["reason"] == f"while it was building: there is no repo probe: no file {FILE}"
    box.sh(f"until [ ! -e /run/tinyci/jobs/{job.replace('-', '')}.json ]; do sleep 0.1; done", limit=40)
    assert box.systemctl("probe", f"is-active {unit}").out == "inactive\n"
    assert box.redis(f"lpos tinyci:accepted {job}") == [""]


@pytest.mark.parametrize("collected", [True, False])
def test_a_revision_that_vanished_while_it_waited_is_rejected(box: TestHost, work: Clone, collected: bool) -> None:
    clone = work("probe")
    clone.script("echo kept")
    box.wait(box.push(clone).job)
    clone.git("checkout", "-q", "-B", "vanishing")
    revision = clone.script("echo never")
    collect = "git reflog expire --expire=now --all; git gc -q --prune=now" if collected else "true"
    work("probe-other").script("echo the queue goes on")
    with paused(box):
        job = box.push(clone, "HEAD:refs/heads/release-1").job
        other = box.push(work("probe-other")).job
        # Not by a push: that would be a newer job of the same ref.
        box.sh(f"cd /srv/git/probe.git && git update-ref -d refs/heads/release-1 && {collect}", "git")
        there = box.run(f"cd /srv/git/probe.git && git cat-file -e {revision}", "git").status == 0
        assert there is not collected
    clone.git("checkout", "-q", "master")
    done = box.wait(job)
    assert (done["state"], done["success"]) == ("rejected", "false")
    assert f"revision {revision} is not in /srv/git/probe.git" in done["reason"]
    assert box.wait(other)["output"] == "the queue goes on\n"


def test_of_two_forced_pushes_the_later_one_is_deployed(box: TestHost, work: Clone) -> None:
    clone = work("probe")
    clone.script("echo kept")
    box.wait(box.push(clone).job)
    with paused(box):
        clone.script("echo taken back")
        first = box.push(clone).job
        clone.git("reset", "-q", "--hard", "HEAD~1")
        clone.script("echo instead")
        second = box.push(clone).job
        box.sh("cd /srv/git/probe.git && git reflog expire --expire=now --all && git gc -q --prune=now", "git")
    assert box.wait(second)["output"] == "instead\n"
    assert box.job(first)["state"] == "superseded"
