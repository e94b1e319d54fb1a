"""Whatever is killed, the job that was on its way ends once and truly."""

from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_a_killed_daemon_goes_on_with_the_build_it_had(box: TestHost, work: Clone, repo: str, signal: str) -> None:
    box.fifo("/tmp/kill.fifo")
    box.sh("rm -f /tmp/kill.runs; touch /tmp/kill.runs; chmod 666 /tmp/kill.runs")
    work(repo).script("echo run >>/tmp/kill.runs; echo before; timeout 60 cat /tmp/kill.fifo; echo after; seq 1 3")
    job = box.push(work(repo)).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    old = box.sh("systemctl show -P MainPID tinyci").strip()
    if signal == "TERM":
        box.sh("systemctl restart tinyci", limit=30)
    else:
        box.kill("tinyci")
    assert box.sh("systemctl show -P MainPID tinyci").strip() not in (old, "0")
    assert box.job(job)["state"] == "building"
    box.sh(": >/tmp/kill.fifo")
    done = box.wait(job)
    assert (done["state"], done["success"], done["attempt"]) == ("succeeded", "true", "1"), done
    assert box.sh("cat /tmp/kill.runs") == "run\n", "built once"
    assert box.log(job) == ["before", "after", "1", "2", "3"], "no line twice, none lost"
    assert done["output"] == "before\nafter\n1\n2\n3\n"
    finals = [
        line
        for line in box.sh(f"journalctl -u tinyci TINYCI_JOB={job} --no-pager -o cat").splitlines()
        if line.endswith("succeeded")
    ]
    assert len(finals) == 1, "ended once"


def test_a_build_that_ended_while_the_daemon_was_down_is_read(box: TestHost, work: Clone) -> None:
    box.fifo("/tmp/down.fifo")
    work("probe").script("echo before; timeout 60 cat /tmp/down.fifo; echo after; exit 4")
    job = box.push(work("probe")).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    unit = box.job(job)["unit"]
    box.sh("systemctl stop tinyci; : >/tmp/down.fifo")
    box.sh(f"until systemctl --user -M probe@ is-failed -q {unit}; do sleep 0.1; done", limit=20)
    box.sh("systemctl start tinyci")
    done = box.wait(job)
    assert (done["state"], done["success"], done["exit_status"]) == ("failed", "false", "4")
    assert done["output"] == "before\nafter\n"


def test_pushes_while_the_daemon_is_down_wait_for_it(box: TestHost, work: Clone) -> None:
    box.sh("systemctl stop tinyci")
    jobs = []
    for repo in ("probe", "probe-root"):
        work(repo).script("echo built later")
        jobs.append(box.push(work(repo)).job)
    box.sh("systemctl start tinyci")
    assert [job["output"] for job in box.settled(jobs)] == ["built later\n"] * 2


def test_a_push_without_redis_is_kept_and_deployed_when_it_is_back(box: TestHost, work: Clone) -> None:
    box.sh("systemctl stop redis-server@tinyci")
    try:
        work("probe").script("echo from the spool")
        pushed = box.push(work("probe"))
        assert f"kept job {pushed.job} for probe: Redis does not take it now" in pushed.text
        job = pushed.job
    finally:
        box.sh("systemctl start redis-server@tinyci")
    box.redis(f"xread block 60000 count 1 streams tinyci:log:{job} 0")
    assert box.wait(job)["output"] == "from the spool\n"
    assert box.sh("ls /var/spool/tinyci") == ""


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_a_restart_of_the_system_bus_costs_no_build(box: TestHost, work: Clone, repo: str) -> None:
    """tinyci, PID 1 and polkit come back to it by themselves. logind does not, and is restarted as well."""
    box.fifo("/tmp/bus.fifo")
    work(repo).script("echo before; timeout 60 cat /tmp/bus.fifo; echo after")
    job = box.push(work(repo)).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    pid = box.sh("systemctl show -P MainPID tinyci")
    box.sh("systemctl restart dbus.service; systemctl restart systemd-logind.service", limit=60)
    box.sh(": >/tmp/bus.fifo")
    done = box.wait(job)
    assert (done["state"], done["attempt"], done["output"]) == ("succeeded", "1", "before\nafter\n"), done
    assert box.sh("systemctl show -P MainPID tinyci") == pid
    box.sh("until busctl status org.tinyci1 >/dev/null 2>&1; do sleep 0.1; done", limit=30)
    assert f'"{job}"' in box.sh("busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager ListJobs")
