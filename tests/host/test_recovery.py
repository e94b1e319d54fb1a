"""Whatever is killed, the job that was on its way ends once and truly."""

from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_a_killed_daemon_goes_on_with_the_build_it_had(server: TestHost, work: Clone, repo: str, signal: str) -> None:
    server.fifo("/tmp/kill.fifo")
    server.sh("rm -f /tmp/kill.runs; touch /tmp/kill.runs; chmod 666 /tmp/kill.runs")
    work(repo).script("echo run >>/tmp/kill.runs; echo before; timeout 60 cat /tmp/kill.fifo; echo after; seq 1 3")
    job = server.push(work(repo)).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    old = server.sh("systemctl show -P MainPID tinyci").strip()
    if signal == "TERM":
        server.sh("systemctl restart tinyci", limit=30)
    else:
        server.kill("tinyci")
    assert server.sh("systemctl show -P MainPID tinyci").strip() not in (old, "0")
    assert server.job(job)["state"] == "building"
    server.sh(": >/tmp/kill.fifo")
    outcome = server.wait(job)
    assert (outcome["state"], outcome["success"], outcome["attempt"]) == ("succeeded", "true", "1"), outcome
    assert server.sh("cat /tmp/kill.runs") == "run\n", "built once"
    assert server.log(job) == ["before", "after", "1", "2", "3"], "no line twice, none lost"
    assert outcome["output"] == "before\nafter\n1\n2\n3\n"
    finals = [
        line
        for line in server.sh(f"journalctl -u tinyci TINYCI_JOB={job} --no-pager -o cat").splitlines()
        if line.endswith("succeeded")
    ]
    assert len(finals) == 1, "ended once"


def test_a_build_that_ended_while_the_daemon_was_down_is_read(server: TestHost, work: Clone) -> None:
    server.fifo("/tmp/down.fifo")
    work("probe").script("echo before; timeout 60 cat /tmp/down.fifo; echo after; exit 4")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    unit = server.job(job)["unit"]
    server.sh("systemctl stop tinyci; : >/tmp/down.fifo")
    server.sh(f"until systemctl --user -M probe@ is-failed -q {unit}; do sleep 0.1; done", limit=20)
    server.sh("systemctl start tinyci")
    outcome = server.wait(job)
    assert (outcome["state"], outcome["success"], outcome["exit_status"]) == ("failed", "false", "4")
    assert outcome["output"] == "before\nafter\n"


def test_pushes_while_the_daemon_is_down_wait_for_it(server: TestHost, work: Clone) -> None:
    server.sh("systemctl stop tinyci")
    jobs = []
    for repo in ("probe", "probe-root"):
        work(repo).script("echo built later")
        jobs.append(server.push(work(repo)).job)
    server.sh("systemctl start tinyci")
    assert [job["output"] for job in server.wait_all(jobs)] == ["built later\n"] * 2


def test_a_push_without_redis_is_kept_and_deployed_when_it_is_back(server: TestHost, work: Clone) -> None:
    server.sh("systemctl stop redis-server@tinyci")
    try:
        work("probe").script("echo from the spool")
        push = server.push(work("probe"))
        assert f"kept job {push.job} for probe: Redis does not take it now" in push.text
        job = push.job
    finally:
        server.sh("systemctl start redis-server@tinyci")
    server.redis(f"xread block 60000 count 1 streams tinyci:log:{job} 0")
    assert server.wait(job)["output"] == "from the spool\n"
    assert server.sh("ls /var/spool/tinyci") == ""


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_a_restart_of_the_system_bus_costs_no_build(server: TestHost, work: Clone, repo: str) -> None:
    """tinyci, PID 1 and polkit come back to it by themselves. logind does not, and is restarted as well."""
    server.fifo("/tmp/bus.fifo")
    work(repo).script("echo before; timeout 60 cat /tmp/bus.fifo; echo after")
    job = server.push(work(repo)).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    pid = server.sh("systemctl show -P MainPID tinyci")
    server.sh("systemctl restart dbus.service; systemctl restart systemd-logind.service", limit=60)
    server.sh(": >/tmp/bus.fifo")
    outcome = server.wait(job)
    assert (outcome["state"], outcome["attempt"], outcome["output"]) == ("succeeded", "1", "before\nafter\n"), outcome
    assert server.sh("systemctl show -P MainPID tinyci") == pid
    server.sh("until busctl status org.tinyci1 >/dev/null 2>&1; do sleep 0.1; done", limit=30)
    assert f'"{job}"' in server.sh("busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager ListJobs")
