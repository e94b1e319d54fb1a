"""Cancel, retry, pause and time limits: what a person asks of a job, and what a job may not take."""

import re
from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

MANAGER = "org.tinyci1 /org/tinyci1 org.tinyci1.Manager"


def held(box: TestHost, work: Clone, repo: str = "probe", before: str = "") -> str:
    """Push a build that waits in /tmp/held.fifo, and return its job once it does."""
    box.fifo("/tmp/held.fifo")
    work(repo).script(f"{before}\necho begun; timeout 60 cat /tmp/held.fifo; echo over")
    job = box.push(work(repo)).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    return job


def release(box: TestHost) -> None:
    box.sh("timeout 10 sh -c ': >/tmp/held.fifo'")


def test_a_waiting_job_is_cancelled(box: TestHost, work: Clone) -> None:
    running = held(box, work)
    work("probe").script("echo never")
    waiting = box.push(work("probe")).job
    box.wait(running, ("building",))
    box.sh(f"busctl call {MANAGER} Cancel s {waiting}")
    assert box.job(waiting)["state"] == "cancelled"
    assert box.job(waiting)["reason"] == "cancelled before it began"
    release(box)
    assert box.wait(running)["state"] == "succeeded"


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_a_build_that_ignores_sigterm_is_cancelled_whole(box: TestHost, work: Clone, repo: str) -> None:
    """Fifty children of it, none of which listens: the whole cgroup dies, within 15 s."""
    children = "trap '' TERM; for i in $(seq 50); do (exec -a stubborn-child sleep 1000) & done"
    box.fifo("/tmp/held.fifo")
    work(repo).commit({"ci-build.sh": f"#!/bin/bash\n{children}\necho begun\nwait\n"})
    job = box.push(work(repo)).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    box.sh(f"timeout 15 busctl call --timeout=15 {MANAGER} Cancel s {job}")
    done = box.job(job)
    assert (done["state"], done["success"]) == ("cancelled", "false")
    assert done["reason"] == "cancelled while it was building; the build was stopped"
    assert box.sh("pgrep -c -f [s]tubborn-child || true") == "0\n"


def test_an_ended_job_is_not_cancelled(box: TestHost, work: Clone) -> None:
    work("probe").script("true")
    job = box.deploy(work("probe"))["id"]
    answer = box.run(f"busctl call {MANAGER} Cancel s {job}")
    assert "has ended" in answer.text
    assert box.job(job)["state"] == "succeeded"


def test_others_may_not_cancel(box: TestHost, work: Clone) -> None:
    job = held(box, work)
    answer = box.run(f"busctl call {MANAGER} Cancel s {job}", "nobody")
    assert "polkit wants an administrator to authenticate for org.tinyci1.cancel for probe" in answer.text
    release(box)
    assert box.wait(job)["state"] == "succeeded"


def test_a_retry_is_a_new_job_for_the_same_revision(box: TestHost, work: Clone) -> None:
    box.sh("rm -f /tmp/mended")
    work("probe").script("test -e /tmp/mended")
    first = box.deploy(work("probe"))
    assert first["state"] == "failed"
    box.sh("touch /tmp/mended")
    path = box.sh(f"busctl call {MANAGER} Retry s {first['id']}")
    found = re.search(r"/_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})", path)
    assert found, path
    again = box.wait("-".join(found.groups()))
    assert (again["state"], again["revision"]) == ("succeeded", first["revision"])
    assert (again["retry_of"], again["pusher"]) == (first["id"], "root")


def test_a_pause_lets_nothing_begin_and_survives_a_restart(box: TestHost, work: Clone) -> None:
    running = held(box, work, "probe-other")
    box.sh(f"busctl call {MANAGER} Pause")
    try:
        work("probe").script("echo after the pause")
        waiting = box.push(work("probe")).job
        release(box)
        assert box.wait(running)["state"] == "succeeded", "what ran goes on"
        box.sh("systemctl restart tinyci")
        assert "paused" in box.sh("systemctl status tinyci --no-pager")
        assert box.sh(f"busctl get-property {MANAGER} Paused") == "b true\n"
        assert box.job(waiting).get("state", "queued") == "queued"
    finally:
        box.sh(f"busctl call {MANAGER} Resume")
    assert box.wait(waiting)["output"] == "after the pause\n"


def test_a_build_over_its_time_is_stopped(box: TestHost, work: Clone) -> None:
    with box.repo_file("probe", timeout='"2s"'):
        work("probe").script("echo begun; sleep 1000")
        job = box.deploy(work("probe"), limit=30)
    assert (job["state"], job["success"]) == ("timed-out", "false")
    assert job["reason"] == "the build took longer than 2s (timeout) and was stopped"
    assert job["output"] == "begun\n"


def test_a_unit_whose_start_hangs_hangs_nobody(box: TestHost, work: Clone) -> None:
    box.sh(
        "printf '[Service]\\nType=notify\\nTimeoutStartSec=infinity\\nExecStart=sleep infinity\\n'"
        " >/etc/systemd/user/hanging.service; systemctl --user -M probe@ daemon-reload"
    )
    try:
        with box.repo_file("probe", units='["hanging.service"]', restart_timeout='"2s"'):
            work("probe").script("true")
            job = box.deploy(work("probe"), limit=30)
    finally:
        box.sh("systemctl --user -M probe@ stop hanging.service; rm /etc/systemd/user/hanging.service")
    assert job["state"] == "failed"
    assert job["reason"] == (
        "the restart of hanging.service did not end within 2s (restart_timeout); "
        "not rolled back: no container of these units ran before"
    )


def test_a_unit_that_is_not_there_is_named(box: TestHost, work: Clone) -> None:
    with box.repo_file("probe", units='["no-such.service"]'):
        work("probe").script("true")
        job = box.deploy(work("probe"), limit=30)
    assert job["state"] == "failed"
    assert "the manager of probe has no unit no-such.service (not-found)" in job["reason"]


def test_malformed_work_is_rejected_and_the_queue_goes_on(box: TestHost, work: Clone) -> None:
    ids = {
        "nothing": "00000000-0000-4000-8000-000000000001",
        "absurd": "00000000-0000-4000-8000-000000000002",
        "unknown": "00000000-0000-4000-8000-000000000003",
        "undeployed": "00000000-0000-4000-8000-000000000004",
        "type": "00000000-0000-4000-8000-000000000005",
    }
    zeros = "a" * 40
    box.redis(f"del {' '.join('tinyci:job:' + each for each in ids.values())}")
    box.redis(f"hset tinyci:job:{ids['absurd']} repo ../../etc ref x revision y")
    box.redis(f"hset tinyci:job:{ids['unknown']} repo nobody-knows ref refs/heads/master revision {zeros}")
    box.redis(f"hset tinyci:job:{ids['undeployed']} repo probe ref refs/heads/none revision {zeros}")
    box.redis(f"set tinyci:job:{ids['type']} text")
    box.redis(f"lpush tinyci:queue {' '.join(ids.values())} 'not-an-id'")
    work("probe").script("echo the queue goes on")
    assert box.deploy(work("probe"))["output"] == "the queue goes on\n"
    reasons = {name: box.job(ids[name]) for name in ("nothing", "absurd", "unknown", "undeployed")}
    assert {job["state"] for job in reasons.values()} == {"rejected"}
    assert reasons["nothing"]["reason"] == "the id was queued without a hash that says what to deploy"
    assert reasons["absurd"]["reason"] == "repo '../../etc' is not the name of a repo"
    assert reasons["unknown"]["reason"].startswith("there is no repo nobody-knows: no file /etc/tinyci/repos.d/")
    assert reasons["undeployed"]["reason"].startswith("the repo probe deploys refs/heads/master")
    assert box.redis("lrange tinyci:accepted 0 -1") in ([], [""])
    box.redis(f"del tinyci:job:{ids['type']} tinyci:job:not-an-id")
    box.redis("zrem tinyci:jobs not-an-id")
