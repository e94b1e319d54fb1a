"""Rights of the daemon, and its accounts of itself."""

import json
import re
from collections.abc import Callable

from testhost import TestHost, Work
from testinfra.host import Host

Clone = Callable[[str], Work]


def test_the_daemon_is_ready_and_not_root(server: TestHost, testinfra_host: Host) -> None:
    service = testinfra_host.service("tinyci")
    assert service.is_running
    assert service.is_enabled
    process = testinfra_host.process.get(comm="tinyci-daemon")
    assert process.user == "tinyci"
    status = server.sh(f"cat /proc/{process.pid}/status")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"^{name}:\s+0000000000000000$", status, re.M), status
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)
    text = server.sh("systemctl status tinyci --no-pager")
    assert "Active: active (running)" in text
    assert re.search(r'Status: "idle, \d+ repos"', text), text


def test_the_daemon_can_have_no_network_socket(server: TestHost) -> None:
    """Its own filter, applied by systemd to a process that tries: the same properties as the unit has."""
    assert server.show("root", "tinyci.service", "RestrictAddressFamilies") == "AF_UNIX"
    properties = server.sh(
        "systemctl show tinyci.service -p RestrictAddressFamilies -p PrivateNetwork -p NoNewPrivileges"
    ).split()
    assert "PrivateNetwork=yes" in properties
    attempt = server.run(
        "systemd-run --quiet --wait --pipe -p User=tinyci "
        + " ".join(f"-p {each}" for each in properties)
        + " python3 -c 'import socket; socket.socket(socket.AF_INET)'"
    )
    assert "Address family not supported by protocol" in attempt.text
    sockets = server.sh("ls -l /proc/$(systemctl show -P MainPID tinyci)/fd | grep -c socket || true")
    assert int(sockets) > 0
    assert server.sh("nsenter -t $(systemctl show -P MainPID tinyci) -n ss -Htuanp") == ""


def test_its_exposure_is_small(server: TestHost) -> None:
    report = server.sh("systemd-analyze security --no-pager tinyci.service")
    print(report.splitlines()[-1])
    level = re.search(r"Overall exposure level for tinyci.service: ([0-9.]+)", report)
    assert level
    assert float(level[1]) <= 0.2


def test_the_units_are_valid(server: TestHost) -> None:
    stages = "tinyci-build@0.service tinyci-verify@0.service tinyci-rollback@0.service"
    names = f"tinyci.service tinyci-gate@1000.service {stages} tinyci.slice tinyci-build.slice"
    assert server.run(f"systemd-analyze verify --man=no {names}").text == ""
    user = server.as_manager("probe", f"systemd-analyze verify --user --man=no {stages} 2>&1")
    assert user == ""


def test_the_journal_tells_a_jobs_story_with_its_id(server: TestHost, work: Clone) -> None:
    work("probe").script("echo a line of the build")
    job = server.deploy(work("probe"))
    states = [
        json.loads(line)
        for line in server.sh(f"journalctl -u tinyci TINYCI_JOB={job['id']} -o json --no-pager").splitlines()
    ]
    assert [entry.get("TINYCI_STATE") for entry in states] == ["queued", "building", "succeeded"]
    assert all(job["id"] in entry["MESSAGE"] and entry["TINYCI_REPO"] == "probe" for entry in states)
    assert states[1]["TINYCI_UNIT"] == job["unit"]
    assert len({entry["MESSAGE_ID"] for entry in states}) == 1
    assert job["id"] in server.sh("journalctl -u tinyci --no-pager -n 20")
    assert "a line of the build" in server.sh("journalctl -o cat --no-pager -t tinyci-build")


def test_the_bus_shows_the_job_while_it_runs(server: TestHost, work: Clone) -> None:
    server.fifo("/tmp/bus.fifo")
    work("probe").script("echo begun; timeout 60 cat /tmp/bus.fifo")
    job_id = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job_id} 0")
    path = f"/org/tinyci1/job/_{job_id.replace('-', '')}"
    assert path in server.sh("busctl tree --list org.tinyci1")
    assert server.sh(f"busctl get-property org.tinyci1 {path} org.tinyci1.Job State") == 's "building"\n'
    table = server.sh(f"busctl introspect --no-pager org.tinyci1 {path} org.tinyci1.Job")
    assert re.search(r"\.Repo +property +s +\"probe\"", table), table
    jobs = server.sh("busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager ListJobs", "nobody")
    assert f'"{job_id}" "probe" "refs/heads/master" "building" "{path}"' in jobs
    unit = server.systemctl("probe", "status --no-pager 'tinyci-build@*'").out  # status 3: it is not active yet
    assert "activating (start)" in unit
    assert re.search(r'Status: "probe building', server.sh("systemctl status --no-pager tinyci"))
    server.sh(": >/tmp/bus.fifo")
    server.wait(job_id)
    assert "State: succeeded" in server.sh(f"tinyci show {job_id[:8]}", "nobody")
    missing = server.run("busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager GetJob s nonsense")
    assert "no job that is kept has the id 'nonsense'" in missing.text


def test_a_reload_reads_the_repos_again_and_one_wrong_file_stops_no_other(server: TestHost, work: Clone) -> None:
    work("probe").script("true")
    server.sh("echo 'user = 7' >/etc/tinyci/repos.d/wrong.toml; systemctl reload tinyci")
    try:
        assert server.deploy(work("probe"))["state"] == "succeeded"
        assert "1 wrong repo files" in server.sh("systemctl status --no-pager tinyci")
        errors = server.sh("journalctl -u tinyci -p err --no-pager -n 3")
        assert "/etc/tinyci/repos.d/wrong.toml: repository: expected the absolute path" in errors
    finally:
        server.sh("rm /etc/tinyci/repos.d/wrong.toml; systemctl reload tinyci")


def test_a_reload_with_settings_that_cannot_be_read_is_a_reload(server: TestHost) -> None:
    """As an editor leaves the file that root saved with a narrow umask; the repos' files are read all the same."""
    settings, repo = "/etc/tinyci/tinyci.toml", "/etc/tinyci/repos.d/another.toml"
    rights = server.sh(f"stat -c %a {settings}").strip()
    since = server.sh("date +%s.%N").strip()
    text = 'repository = "/srv/git/probe.git"\nuser = "probe"\nrefs = ["refs/heads/another"]\n'
    server.sh(f"chmod 600 {settings}; cat >{repo}", stdin=text)
    try:
        server.sh("timeout 20 systemctl reload tinyci", limit=30)
        assert server.show("root", "tinyci.service", "ActiveState") == "active"
        lines = server.sh(f"journalctl -u tinyci _UID=$(id -u tinyci) -o cat --no-pager -p err --since @{since}")
        assert lines.splitlines() == [f"{settings}: Permission denied; the configuration before is kept"]
        assert "another" in server.sh("tinyci repos", "nobody")
    finally:
        server.sh(f"chmod {rights} {settings}; rm {repo}; systemctl reload tinyci")


def test_nothing_of_an_ended_job_is_left(server: TestHost, work: Clone) -> None:
    work("probe").script("true")
    work("probe-root").script("exit 1")
    server.wait_all([server.push(work("probe")).job, server.push(work("probe-root")).job])
    # The state is final before the rest is cleared away; STOPPING and a new start would do the same.
    server.sh('until [ -z "$(ls /run/tinyci/jobs)" ]; do sleep 0.1; done', limit=20)
    assert server.redis("lrange tinyci:accepted 0 -1") in ([], [""])
    for user in ("root", "probe"):
        units = server.systemctl(user, "list-units --all --no-legend --plain 'tinyci-build@*'").out
        assert units == "", units
    assert re.search(r'Status: "idle, \d+ repos"', server.sh("systemctl status --no-pager tinyci"))
