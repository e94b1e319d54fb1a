"""What the daemon is allowed to be, and what it tells of itself."""

import json
import re
from collections.abc import Callable

from testhost import TestHost, Work
from testinfra.host import Host

Clone = Callable[[str], Work]


def test_the_daemon_is_ready_and_not_root(box: TestHost, server: Host) -> None:
    service = server.service("tinyci")
    assert service.is_running
    assert service.is_enabled
    process = server.process.get(comm="tinyci-daemon")
    assert process.user == "tinyci"
    status = box.sh(f"cat /proc/{process.pid}/status")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"^{name}:\s+0000000000000000$", status, re.M), status
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)
    shown = box.sh("systemctl status tinyci --no-pager")
    assert "Active: active (running)" in shown
    assert re.search(r'Status: "idle, \d+ repos"', shown), shown


def test_the_daemon_can_have_no_network_socket(box: TestHost) -> None:
    """Its own filter, applied by systemd to a process that tries: the same properties as the unit has."""
    assert box.show("root", "tinyci.service", "RestrictAddressFamilies") == "AF_UNIX"
    properties = box.sh(
        "systemctl show tinyci.service -p RestrictAddressFamilies -p PrivateNetwork -p NoNewPrivileges"
    ).split()
    assert "PrivateNetwork=yes" in properties
    tried = box.run(
        "systemd-run --quiet --wait --pipe -p User=tinyci "
        + " ".join(f"-p {each}" for each in properties)
        + " python3 -c 'import socket; socket.socket(socket.AF_INET)'"
    )
    assert "Address family not supported by protocol" in tried.text
    sockets = box.sh("ls -l /proc/$(systemctl show -P MainPID tinyci)/fd | grep -c socket || true")
    assert int(sockets) > 0
    assert box.sh("nsenter -t $(systemctl show -P MainPID tinyci) -n ss -Htuanp") == ""


def test_its_exposure_is_small(box: TestHost) -> None:
    report = box.sh("systemd-analyze security --no-pager tinyci.service")
    print(report.splitlines()[-1])
    level = re.search(r"Overall exposure level for tinyci.service: ([0-9.]+)", report)
    assert level
    assert float(level[1]) <= 2.0


def test_the_units_are_valid(box: TestHost) -> None:
    stages = "tinyci-build@0.service tinyci-verify@0.service tinyci-rollback@0.service"
    names = f"tinyci.service tinyci-gate@1000.service {stages} tinyci.slice tinyci-build.slice"
    assert box.run(f"systemd-analyze verify --man=no {names}").text == ""
    user = box.as_manager("probe", f"systemd-analyze verify --user --man=no {stages} 2>&1")
    assert user == ""


def test_the_journal_tells_a_jobs_story_with_its_id(box: TestHost, work: Clone) -> None:
    work("probe").script("echo a line of the build")
    job = box.deploy(work("probe"))
    told = [
        json.loads(line)
        for line in box.sh(f"journalctl -u tinyci TINYCI_JOB={job['id']} -o json --no-pager").splitlines()
    ]
    assert [entry.get("TINYCI_STATE") for entry in told] == ["queued", "building", "succeeded"]
    assert all(job["id"] in entry["MESSAGE"] and entry["TINYCI_REPO"] == "probe" for entry in told)
    assert told[1]["TINYCI_UNIT"] == job["unit"]
    assert len({entry["MESSAGE_ID"] for entry in told}) == 1
    assert job["id"] in box.sh("journalctl -u tinyci --no-pager -n 20")
    assert "a line of the build" in box.sh("journalctl -o cat --no-pager -t tinyci-build")


def test_the_bus_shows_the_job_while_it_runs(box: TestHost, work: Clone) -> None:
    box.fifo("/tmp/bus.fifo")
    work("probe").script("echo begun; timeout 60 cat /tmp/bus.fifo")
    job_id = box.push(work("probe")).job
    box.redis(f"xread block 20000 count 1 streams tinyci:log:{job_id} 0")
    path = f"/org/tinyci1/job/_{job_id.replace('-', '')}"
    assert path in box.sh("busctl tree --list org.tinyci1")
    assert box.sh(f"busctl get-property org.tinyci1 {path} org.tinyci1.Job State") == 's "building"\n'
    shown = box.sh(f"busctl introspect --no-pager org.tinyci1 {path} org.tinyci1.Job")
    assert re.search(r"\.Repo +property +s +\"probe\"", shown), shown
    listed = box.sh("busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager ListJobs", "nobody")
    assert f'"{job_id}" "probe" "refs/heads/master" "building" "{path}"' in listed
    unit = box.systemctl("probe", "status --no-pager 'tinyci-build@*'").out  # status 3: it is not active yet
    assert "activating (start)" in unit
    assert re.search(r'Status: "probe building', box.sh("systemctl status --no-pager tinyci"))
    box.sh(": >/tmp/bus.fifo")
    box.wait(job_id)
    assert "State: succeeded" in box.sh(f"tinyci show {job_id[:8]}", "nobody")
    missing = box.run("busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager GetJob s nonsense")
    assert "no job that is kept has the id 'nonsense'" in missing.text


def test_a_reload_reads_the_repos_again_and_one_wrong_file_stops_no_other(box: TestHost, work: Clone) -> None:
    work("probe").script("true")
    box.sh("echo 'user = 7' >/etc/tinyci/repos.d/wrong.toml; systemctl reload tinyci")
    try:
        assert box.deploy(work("probe"))["state"] == "succeeded"
        assert "1 wrong repo files" in box.sh("systemctl status --no-pager tinyci")
        told = box.sh("journalctl -u tinyci -p err --no-pager -n 3")
        assert "/etc/tinyci/repos.d/wrong.toml: repository: expected the absolute path" in told
    finally:
        box.sh("rm /etc/tinyci/repos.d/wrong.toml; systemctl reload tinyci")


def test_nothing_of_an_ended_job_is_left(box: TestHost, work: Clone) -> None:
    work("probe").script("true")
    work("probe-root").script("exit 1")
    box.settled([box.push(work("probe")).job, box.push(work("probe-root")).job])
    # The state is final before the rest is cleared away; STOPPING and a new start would do the same.
    box.sh('until [ -z "$(ls /run/tinyci/jobs)" ]; do sleep 0.1; done', limit=20)
    assert box.redis("lrange tinyci:accepted 0 -1") in ([], [""])
    for user in ("root", "probe"):
        listed = box.systemctl(user, "list-units --all --no-legend --plain 'tinyci-build@*'").out
        assert listed == "", listed
    assert re.search(r'Status: "idle, \d+ repos"', box.sh("systemctl status --no-pager tinyci"))
