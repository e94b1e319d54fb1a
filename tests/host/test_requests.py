"""Cancel, retry, pause and time limits: what a person asks of a job, and what a job may not take."""

import re
from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

MANAGER = "org.tinyci1 /org/tinyci1 org.tinyci1.Manager"


def held(server: TestHost, work: Clone, repo: str = "probe", before: str = "") -> str:
    """Push a build that waits in /tmp/held.fifo, and return its job once it does."""
    server.fifo("/tmp/held.fifo")
    work(repo).script(f"{before}\necho begun; timeout 60 cat /tmp/held.fifo; echo over")
    job = server.push(work(repo)).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    return job


def release(server: TestHost) -> None:
    server.sh("timeout 10 sh -c ': >/tmp/held.fifo'")


def test_a_waiting_job_is_cancelled(server: TestHost, work: Clone) -> None:
    running = held(server, work)
    work("probe").script("echo never")
    waiting = server.push(work("probe")).job
    server.wait(running, ("building",))
    server.sh(f"busctl call {MANAGER} Cancel s {waiting}")
    assert server.job(waiting)["state"] == "cancelled"
    assert server.job(waiting)["reason"] == "cancelled before it began"
    release(server)
    assert server.wait(running)["state"] == "succeeded"


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_a_build_that_ignores_sigterm_is_cancelled_whole(server: TestHost, work: Clone, repo: str) -> None:
    """Fifty children of it, none of which listens: the whole cgroup dies, within 15 s."""
    children = "trap '' TERM; for i in $(seq 50); do (exec -a stubborn-child sleep 1000) & done"
    server.fifo("/tmp/held.fifo")
    work(repo).commit({"ci-build.sh": f"#!/bin/bash\n{children}\necho begun\nwait\n"})
    job = server.push(work(repo)).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    server.sh(f"timeout 15 busctl call --timeout=15 {MANAGER} Cancel s {job}")
    outcome = server.job(job)
    assert (outcome["state"], outcome["success"]) == ("cancelled", "false")
    assert outcome["reason"] == "cancelled while it was building; the build was stopped"
    assert server.sh("pgrep -c -f [s]tubborn-child || true") == "0\n"


def test_an_ended_job_is_not_cancelled(server: TestHost, work: Clone) -> None:
    work("probe").script("true")
    job = server.deploy(work("probe"))["id"]
    answer = server.run(f"busctl call {MANAGER} Cancel s {job}")
    assert "has ended" in answer.text
    assert server.job(job)["state"] == "succeeded"


def test_others_may_not_cancel(server: TestHost, work: Clone) -> None:
    job = held(server, work)
    answer = server.run(f"busctl call {MANAGER} Cancel s {job}", "nobody")
    assert "polkit wants an administrator to authenticate for org.tinyci1.cancel for probe" in answer.text
    release(server)
    assert server.wait(job)["state"] == "succeeded"


def test_a_retry_is_a_new_job_for_the_same_revision(server: TestHost, work: Clone) -> None:
    server.sh("rm -f /tmp/mended")
    work("probe").script("test -e /tmp/mended")
    first = server.deploy(work("probe"))
    assert first["state"] == "failed"
    server.sh("touch /tmp/mended")
    path = server.sh(f"busctl call {MANAGER} Retry s {first['id']}")
    match = re.search(r"/_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})", path)
    assert match, path
    again = server.wait("-".join(match.groups()))
    assert (again["state"], again["revision"]) == ("succeeded", first["revision"])
    assert (again["retry_of"], again["pusher"]) == (first["id"], "root")


def test_a_pause_lets_nothing_begin_and_survives_a_restart(server: TestHost, work: Clone) -> None:
    running = held(server, work, "probe-other")
    server.sh(f"busctl call {MANAGER} Pause")
    try:
        work("probe").script("echo after the pause")
        waiting = server.push(work("probe")).job
        release(server)
        assert server.wait(running)["state"] == "succeeded", "what ran goes on"
        server.sh("systemctl restart tinyci")
        assert "paused" in server.sh("systemctl status tinyci --no-pager")
        assert server.sh(f"busctl get-property {MANAGER} Paused") == "b true\n"
        assert server.job(waiting).get("state", "queued") == "queued"
    finally:
        server.sh(f"busctl call {MANAGER} Resume")
    assert server.wait(waiting)["output"] == "after the pause\n"


def test_a_build_over_its_time_is_stopped(server: TestHost, work: Clone) -> None:
    with server.repo_file("probe", timeout='"2s"'):
        work("probe").script("echo begun; sleep 1000")
        job = server.deploy(work("probe"), limit=30)
    assert (job["state"], job["success"]) == ("timed-out", "false")
    assert job["reason"] == "the build took longer than 2s (timeout) and was stopped"
    assert job["output"] == "begun\n"


def test_a_unit_whose_start_hangs_hangs_nobody(server: TestHost, work: Clone) -> None:
    server.sh(
        "printf '[Service]\\nType=notify\\nTimeoutStartSec=infinity\\nExecStart=sleep infinity\\n'"
        " >/etc/systemd/user/hanging.service; systemctl --user -M probe@ daemon-reload"
    )
    try:
        with server.repo_file("probe", units='["hanging.service"]', restart_timeout='"2s"'):
            work("probe").script("true")
            job = server.deploy(work("probe"), limit=30)
    finally:
        server.sh("systemctl --user -M probe@ stop hanging.service; rm /etc/systemd/user/hanging.service")
    assert job["state"] == "failed"
    assert job["reason"] == (
        "the restart of hanging.service did not end within 2s (restart_timeout); "
        "not rolled back: no container of these units ran before"
    )


def test_a_unit_that_is_not_there_is_named(server: TestHost, work: Clone) -> None:
    with server.repo_file("probe", units='["no-such.service"]'):
        work("probe").script("true")
        job = server.deploy(work("probe"), limit=30)
    assert job["state"] == "failed"
    assert "the manager of probe has no unit no-such.service (not-found)" in job["reason"]


def test_malformed_work_is_rejected_and_the_queue_goes_on(server: TestHost, work: Clone) -> None:
    ids = {
        "nothing": "00000000-0000-4000-8000-000000000001",
        "absurd": "00000000-0000-4000-8000-000000000002",
        "unknown": "00000000-0000-4000-8000-000000000003",
        "undeployed": "00000000-0000-4000-8000-000000000004",
        "type": "00000000-0000-4000-8000-000000000005",
    }
    zeros = "a" * 40
    server.redis(f"del {' '.join('tinyci:job:' + each for each in ids.values())}")
    server.redis(f"hset tinyci:job:{ids['absurd']} repo ../../etc ref x revision y")
    server.redis(f"hset tinyci:job:{ids['unknown']} repo nobody-knows ref refs/heads/master revision {zeros}")
    server.redis(f"hset tinyci:job:{ids['undeployed']} repo probe ref refs/heads/none revision {zeros}")
    server.redis(f"set tinyci:job:{ids['type']} text")
    server.redis(f"lpush tinyci:queue {' '.join(ids.values())} 'not-an-id'")
    work("probe").script("echo the queue goes on")
    assert server.deploy(work("probe"))["output"] == "the queue goes on\n"
    reasons = {name: server.job(ids[name]) for name in ("nothing", "absurd", "unknown", "undeployed")}
    assert {job["state"] for job in reasons.values()} == {"rejected"}
    assert reasons["nothing"]["reason"] == "the id was queued without a hash that says what to deploy"
    assert reasons["absurd"]["reason"] == "repo '../../etc' is not the name of a repo"
    assert reasons["unknown"]["reason"].startswith("there is no repo nobody-knows: no file /etc/tinyci/repos.d/")
    assert reasons["undeployed"]["reason"].startswith("the repo probe deploys refs/heads/master")
    assert server.redis("lrange tinyci:accepted 0 -1") in ([], [""])
    server.redis(f"del tinyci:job:{ids['type']} tinyci:job:not-an-id")
    server.redis("zrem tinyci:jobs not-an-id")
