"""org.tinyci1 on the booted host, as any program and any person there finds it."""

import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from xml.etree import ElementTree

import pytest
from testhost import HOST, TREE, TestHost, Work

Clone = Callable[[str], Work]

CALL = "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager"
PEOPLE = TREE / "daemon" / "man" / "tinyci.service.8.md"


def path_of(job_id: str) -> str:
    return f"/org/tinyci1/job/_{job_id.replace('-', '')}"


@contextmanager
def building(server: TestHost, work: Work) -> Iterator[str]:
    """The id of a job of that repo whose build goes on until the block ends."""
    fifo = f"/tmp/api-{work.repo}.fifo"
    server.fifo(fifo)
    work.script(f"echo begun; timeout 60 cat {fifo}; echo ended")
    job_id = server.push(work).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job_id} 0")
    try:
        yield job_id
    finally:
        if server.job(job_id)["state"] == "building":
            server.sh(f": >{fifo}")
        server.wait(job_id)


@contextmanager
def monitor(server: TestHost, *arguments: str) -> Iterator[list[str]]:
    """Collect what `busctl monitor org.tinyci1` prints while the block runs; complete after it."""
    lines: list[str] = []
    busctl = f"exec stdbuf -oL busctl monitor {' '.join(arguments)} org.tinyci1 2>&1"
    command = [HOST, "exec", server.name, "--", "sh", "-c", f"{busctl} & echo $! >/tmp/monitor.pid; wait"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        while "Monitoring bus message stream" not in (line := process.stdout.readline()):
            assert line, "busctl monitor has ended"
        yield lines
    finally:
        # It is behind what it has not read yet: a last call, that it shows, tells the end.
        last = f"last-{uuid.uuid4()}"
        server.run(f"{CALL} GetJob s {last}")
        for line in process.stdout:
            if last in line:
                break
            lines.append(line.rstrip("\n"))
        server.sh("kill $(cat /tmp/monitor.pid)")
        process.communicate(timeout=20)


# -- what it says of itself --------------------------------------------------------------------------------------


def test_the_installed_interfaces_are_what_the_daemon_says(server: TestHost, work: Clone) -> None:
    with building(server, work("probe")) as job_id:
        for interface, path in (("Manager", "/org/tinyci1"), ("Job", path_of(job_id))):
            xml = server.sh(f"busctl introspect --xml-interface org.tinyci1 {path}", "nobody")
            (live,) = ElementTree.fromstring(xml).findall(f"interface[@name='org.tinyci1.{interface}']")
            installed_xml = server.sh(f"cat /usr/share/dbus-1/interfaces/org.tinyci1.{interface}.xml", "nobody")
            (file,) = ElementTree.fromstring(installed_xml).findall("interface")
            assert ElementTree.canonicalize(ElementTree.tostring(live), strip_text=True) == ElementTree.canonicalize(
                ElementTree.tostring(file), strip_text=True
            )


def test_busctl_shows_a_job_while_it_runs_and_after(server: TestHost, work: Clone) -> None:
    with building(server, work("probe")) as job_id:
        path = path_of(job_id)
        assert path in server.sh("busctl tree --list org.tinyci1", "nobody").split()
        assert f'"{job_id}" "probe" "refs/heads/master" "building" "{path}"' in server.sh(f"{CALL} ListJobs", "nobody")
        get = f"busctl get-property org.tinyci1 {path} org.tinyci1.Job"
        assert server.sh(f"{get} State Success", "nobody") == 's "building"\nb false\n'
    assert server.sh(f"{get} State Success ExitStatus", "nobody") == 's "succeeded"\nb true\ni -1\n'
    table = server.sh(f"busctl introspect --no-pager org.tinyci1 {path} org.tinyci1.Job", "nobody")
    print(table)
    assert re.search(r'^\.Repo +property +s +"probe" +const$', table, re.M)
    assert re.search(r'^\.State +property +s +"succeeded" +emits-change$', table, re.M)


def test_busctl_monitor_follows_a_deploy(server: TestHost, work: Clone) -> None:
    work("probe").script("echo a line")
    with monitor(server) as lines:
        job_id = server.deploy(work("probe"))["id"]
    text = "\n".join(lines)
    print(text)
    story = re.findall(r'Member=(JobNew|JobRemoved)|STRING "(queued|building|succeeded)"', text)
    assert ["".join(each) for each in story] == ["JobNew", "building", "succeeded", "JobRemoved", "succeeded"]
    assert text.count(path_of(job_id)) >= 4


# -- who may what ------------------------------------------------------------------------------------------------


@pytest.fixture
def lea(server: TestHost) -> Iterator[str]:
    """An ordinary person, in a group of people."""
    server.sh("groupadd --force web-people; id lea || useradd --create-home --groups web-people lea")
    yield "lea"
    server.sh("userdel --remove lea; groupdel web-people; rm -f /etc/polkit-1/rules.d/60-people.rules")


@contextmanager
def rule_of_the_man_page(server: TestHost, repo: str) -> Iterator[None]:
    """The rule that tinyci.service(8) shows, for that repo instead of its own."""
    (rule,) = re.findall(r"```\n(polkit\.addRule.*?)```", PEOPLE.read_text(encoding="utf-8"), re.S)
    assert rule.count('"web"') == 1
    file = "/etc/polkit-1/rules.d/60-people.rules"
    server.sh(f"cat >{file} && systemctl restart polkit", stdin=rule.replace('"web"', f'"{repo}"'))
    try:
        yield
    finally:
        server.sh(f"rm {file}; systemctl restart polkit")


def test_who_is_nobody_reads_and_is_refused_in_a_sentence(server: TestHost, work: Clone, lea: str) -> None:
    with building(server, work("probe")) as job_id:
        assert job_id in server.sh(f"{CALL} ListJobs", lea)
        for ask in (f"{CALL} Cancel s {job_id}", f"busctl call org.tinyci1 {path_of(job_id)} org.tinyci1.Job Cancel"):
            refusal = server.run(ask, lea)
            print(refusal.text)
            assert refusal.status != 0
            assert "org.tinyci1.cancel for probe" in refusal.text
            assert len(refusal.text.splitlines()) == 1
    assert server.job(job_id)["state"] == "succeeded"


def test_a_rule_for_a_group_and_one_repo_allows_just_that(server: TestHost, work: Clone, lea: str) -> None:
    with rule_of_the_man_page(server, "probe"):
        with building(server, work("probe")) as own_job, building(server, work("probe-other")) as other_job:
            for job_id in (own_job, other_job):
                print(cancel := server.run(f"{CALL} Cancel s {job_id}", lea))
                assert (cancel.status == 0) == (job_id == own_job), cancel.text
            assert server.run(f"{CALL} Pause", lea).status != 0
        assert server.job(own_job)["state"] == "cancelled"
        assert server.job(other_job)["state"] == "succeeded"
        for user in ("nobody", "probe"):  # nor anybody else, and not even who deploys
            assert server.run(f"{CALL} Retry s {own_job}", user).status != 0
    assert server.run(f"{CALL} Retry s {own_job}", lea).status != 0


# -- many --------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_thousand(server: TestHost) -> Iterator[list[str]]:
    """Jobs that were kept long since, of repos that are gone; oldest first."""
    ids = [str(uuid.uuid4()) for _ in range(2000)]
    old = time.time() - 86400
    commands = []
    for number, job_id in enumerate(ids):
        fields = f"repo old-{number % 40} ref refs/heads/main revision {number:040x} state succeeded success true"
        commands += [
            f'hset tinyci:job:{job_id} {fields} output "{"x" * 2000}"',
            f"zadd tinyci:jobs {old + number} {job_id}",
        ]
    server.redis_all(commands)
    server.sh("systemctl restart tinyci")
    yield ids
    server.redis_all([f"del tinyci:job:{job_id}" for job_id in ids] + [f"zrem tinyci:jobs {job_id}" for job_id in ids])
    server.sh("systemctl restart tinyci")


def timed(server: TestHost, script: str) -> tuple[float, str]:
    """Seconds on the host that a script takes there, without the way to it, and what it prints."""
    output = server.sh(f"begin=$(date +%s%N); {script}; echo $(($(date +%s%N) - begin))", "nobody")
    *lines, took = output.splitlines()
    return int(took) / 1e9, "\n".join(lines)


def test_two_thousand_kept_jobs_slow_nobody_down(server: TestHost, work: Clone, two_thousand: list[str]) -> None:
    took, answer = timed(server, f"{CALL} ListJobs")
    jobs = re.findall(r"/org/tinyci1/job/_[0-9a-f]{32}", answer)
    print(f"ListJobs of {len(jobs)} jobs on the bus, {len(two_thousand)} kept: {took:.3f} s, with busctl's start")
    assert 0 < len(jobs) <= 110, "live and recent ones"
    assert took < 2

    old = two_thousand[0]
    assert path_of(old) not in jobs
    took, path = timed(server, f"{CALL} GetJob s {old}")
    assert path == f'o "{path_of(old)}"'
    print(f"GetJob of the oldest: {took:.3f} s, with busctl's start")
    assert took < 2
    get = f"busctl get-property org.tinyci1 {path_of(old)} org.tinyci1.Job"
    assert server.sh(f"{get} Repo State") == 's "old-0"\ns "succeeded"\n'

    work("probe").script("true")
    with monitor(server) as lines:
        job_id = server.deploy(work("probe"))["id"]
    redis_times = times_in_redis(server, job_id)
    bus_times = times_on_the_bus("\n".join(lines), job_id)
    assert bus_times.keys() == {"building", "succeeded"}
    late = {state: at - redis_times[state] for state, at in bus_times.items()}
    print(f"a state change is told on the bus after {', '.join(f'{each * 1000:.1f} ms' for each in late.values())}")
    assert max(late.values()) < 2


def times_in_redis(server: TestHost, job_id: str) -> dict[str, float]:
    """When each state of the job was written, in seconds since the epoch."""
    times = {}
    entries = server.redis_json("xrange tinyci:events - +")
    assert isinstance(entries, list)
    for _, flat in entries:
        event = dict(zip(flat[::2], flat[1::2], strict=True))
        if event["job"] == job_id:
            times[event["state"]] = datetime.fromisoformat(event["at"]).timestamp()
    return times


def times_on_the_bus(output: str, job_id: str) -> dict[str, float]:
    """When PropertiesChanged told each state, as `busctl monitor` saw it."""
    times = {}
    for message in output.split("Type=")[1:]:
        if f"Path={path_of(job_id)}" not in message or "Member=PropertiesChanged" not in message:
            continue
        state = re.search(r'STRING "State";\s+VARIANT "s" \{\s+STRING "([a-z-]+)"', message)
        stamp = re.search(r'Timestamp="\w+ (\S+ \S+) UTC"', message)
        assert stamp, message
        if state:
            times[state[1]] = datetime.fromisoformat(f"{stamp[1]}+00:00").timestamp()
    return times


READERS = """
import asyncio, sys, time
sys.path[:0] = ["/opt/tinyci/lib/python3.%d/site-packages" % sys.version_info.minor]
from tinyci.dbus.bus import Bus

MANAGER = ("org.tinyci1", "/org/tinyci1", "org.tinyci1.Manager")

async def main(path):
    buses = [await Bus.connect() for _ in range(2)]  # a bus lets a connection wait for 128 replies
    def read(bus, after):
        return bus.call("org.tinyci1", path, "org.tinyci1.Job", "ReadOutput", "sb", after, True, timeout=60)
    position, lines, state = await read(buses[0], "")
    print(lines, state)
    waiting = [asyncio.ensure_future(read(bus, position)) for bus in buses for _ in range(100)]
    times = []
    for _ in range(20):
        begin = time.monotonic()
        await buses[0].call(*MANAGER, "ListJobs")
        times.append(time.monotonic() - begin)
    assert not any(each.done() for each in waiting)
    print(sorted(times)[10], flush=True)
    answers = await asyncio.gather(*waiting)
    print(len(answers), {tuple(lines) for _, lines, _ in answers})

asyncio.run(main(*sys.argv[1:]))
"""


def test_two_hundred_readers_of_a_build_wait_and_hold_nobody_up(server: TestHost, work: Clone) -> None:
    with building(server, work("probe")) as job_id:
        server.sh("cat >/tmp/readers.py", stdin=READERS)
        read = f"/opt/tinyci/bin/python3 /tmp/readers.py {path_of(job_id)}"
        server.sh(f"({read} >/tmp/readers 2>&1; echo over >>/tmp/readers) >/dev/null 2>&1 &")
        server.sh("until [ $(wc -l </tmp/readers) -ge 2 ]; do sleep 0.1; done", limit=60)
        clients = server.redis("client list")
        assert sum("user=daemon" in client for client in clients) < 20, clients
    lines = server.sh("until grep -q ^over /tmp/readers; do sleep 0.1; done; cat /tmp/readers", limit=90).splitlines()
    print(f"ListJobs with 200 readers waiting: {float(lines[1]) * 1000:.1f} ms (median)")
    assert lines[0] == "['begun'] building"
    assert float(lines[1]) < 1
    assert lines[2] == "200 {('ended',)}", lines


# -- the bus -----------------------------------------------------------------------------------------------------


def test_a_burst_of_messages_while_the_bus_is_stopped_costs_no_connection(
    server: TestHost, pytestconfig: pytest.Config
) -> None:
    """Each job of a repo that is not there is three: it is new, it changes, it has ended."""
    ids = [str(uuid.uuid4()) for _ in range(min(max(200, pytestconfig.getoption("jobs")), 1000))]
    daemon, since = server.show("root", "tinyci.service", "MainPID"), server.sh("date +%s").strip()
    bus = server.show("root", "dbus.service", "MainPID")
    owner = server.sh("busctl --list --no-pager | grep ^org.tinyci1")
    server.sh(f"kill -STOP {bus}")
    try:
        begin = time.monotonic()
        fields = "ref refs/heads/main revision 1111111111111111111111111111111111111111"
        hashes = [f"hset tinyci:job:{each} repo not-there-{at // 50} {fields}" for at, each in enumerate(ids)]
        server.redis_all(hashes + [f"lpush tinyci:queue {job_id}" for job_id in ids])
        server.wait(ids[-1], limit=180)  # the newest: what is older has ended before it
        print(f"{3 * len(ids)} messages in {time.monotonic() - begin:.1f} s while the bus was stopped")
    finally:
        server.sh(f"kill -CONT {bus}")
    assert server.sh("busctl --list --no-pager | grep ^org.tinyci1") == owner, "the same connection"
    assert path_of(ids[-1]) in server.sh(f"{CALL} ListJobs")
    assert server.show("root", "tinyci.service", "MainPID") == daemon
    assert "system bus" not in server.sh(f"journalctl -u tinyci -o cat --no-pager --since @{since}")
    states = server.redis_all([f"hget tinyci:job:{job_id} state" for job_id in ids])
    assert set(states) <= {"rejected", "superseded"}, set(states)


# -- the journal -------------------------------------------------------------------------------------------------


def test_the_journal_explains_what_the_daemon_says(server: TestHost, work: Clone) -> None:
    work("probe").script("exit 3")
    job_id = server.deploy(work("probe"))["id"]
    entries = server.sh(f"journalctl -x -u tinyci TINYCI_JOB={job_id} --no-pager")
    print(entries)
    assert f"Subject: Job {job_id} of probe is failed" in entries
    assert f'"tinyci show {job_id}" says why' in entries
    assert entries.count("Defined-By: tinyci") == 3  # queued, building, failed
