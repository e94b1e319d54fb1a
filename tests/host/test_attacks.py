"""Attacks on a booted host, each by the user and with the tools that it says: nobody else's deploys come to harm."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

ATTACKS = Path(__file__).parent / "attacks"
THERE = "/var/tmp/attacks"
"""Where the host has them, readable for everybody."""
MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def attacks(server: TestHost) -> Iterator[None]:
    """Bring the programs of the attacks to the host."""
    for program in ATTACKS.iterdir():
        server.sh(f"mkdir -p {THERE}; cat >{THERE}/{program.name}", stdin=program.read_text())
    server.sh(f"chmod 755 {THERE}; chmod 644 {THERE}/*")
    yield
    server.sh(f"rm -r {THERE}")


@pytest.fixture(autouse=True)
def same_daemon(server: TestHost) -> Iterator[None]:
    """Hold that the daemon lives through each of them."""
    show = "systemctl show -P MainPID -P NRestarts tinyci.service"
    before = server.sh(show)
    yield
    assert server.sh(show) == before, "the daemon was restarted"


# -- any local user ----------------------------------------------------------------------------------------------


@contextmanager
def forgery(server: TestHost, unit: str) -> Iterator[Callable[[], str]]:
    """Let nobody forge the ends of that unit's jobs; yields what the forger has said so far."""
    service = f"tinyci-test-forger-{uuid.uuid4().hex[:8]}"
    become = "setpriv --reuid nobody --regid nogroup --clear-groups"
    said = f"journalctl -o cat --no-pager -u {service}"
    server.sh(f"systemd-run -q --unit {service} {become} sh {THERE}/forge.sh {unit}")
    try:
        server.sh(f"until {said} | grep -q listening; do sleep 0.1; done", limit=20)
        yield lambda: server.sh(said)
    finally:
        server.sh(f"systemctl stop {service}")


def test_nobody_tells_how_the_restart_of_roots_unit_ended(server: TestHost, work: Clone) -> None:
    page = f"<p>{uuid.uuid4()}</p>\n"
    work("hello-root").commit({"www/index.html": page})
    with forgery(server, "hello-root.service") as said:
        job = server.deploy(work("hello-root"))
        assert "forged the end of job" in said(), said()
    assert (job["state"], job["image"]) == ("succeeded", job["running_image"]), job
    assert server.get("http://127.0.0.1:8083/") == page


def test_nobody_comes_to_the_pages_past_nginx(server: TestHost, work: Clone) -> None:
    """Nginx asks for the password: neither a user of the host nor a container in the host's network goes round it."""
    for way in ("http://127.0.0.1:8190", "--unix-socket /run/tinyci-web/socket http://localhost"):
        answer = server.run(f"curl -sS -m 5 {way}/api/jobs", "nobody")
        assert (answer.status, answer.out) == (7, ""), answer.text
    assert server.deploy(work("hello-quadlet"))["state"] in ("succeeded", "unchanged")
    wget = "/bin/busybox wget -q -T 5 -O - http://127.0.0.1:8190/api/jobs"
    answer = server.as_manager("hello-quadlet", f"podman exec hello-quadlet {wget} 2>&1 || true")
    assert "Connection refused" in answer


@pytest.fixture
def pages_without_nginx(server: TestHost) -> Iterator[None]:
    """Have the pages listen as they do where no Nginx is in front of them."""
    drop_in = "/run/systemd/system/tinyci-web.socket.d/zz.conf"
    again = "systemctl daemon-reload; systemctl stop tinyci-web.service; systemctl restart tinyci-web.socket"
    text = "[Socket]\nListenStream=127.0.0.1:8190\n"
    server.sh(f"mkdir -p $(dirname {drop_in}); cat >{drop_in}; {again}", stdin=text)
    yield
    server.sh(f"rm {drop_in}; {again}")


@pytest.mark.usefixtures("pages_without_nginx")
def test_a_name_that_leads_here_is_not_enough_to_read_the_pages(server: TestHost) -> None:
    """A page that a visitor looks at may have its own name lead to the end of the visitor's tunnel (DNS rebinding)."""
    curl = "curl -sS -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:8190"
    for host, status in (("evil.example", "421"), ("localhost:8190", "200"), ("127.0.0.1:8190", "200")):
        for path in ("/", "/api/jobs", "/metrics"):
            assert server.sh(f"{curl}{path} -H 'Host: {host}'", "nobody") == status, (host, path)


# -- an app's user -----------------------------------------------------------------------------------------------


class Mallory:
    """The user of probe-other, who has a bus of its own making."""

    def __init__(self, server: TestHost) -> None:
        self.server = server
        self.uid = server.sh("id -u probe-other").strip()
        self.bus = f"/run/user/{self.uid}/bus"
        self.gate = f"tinyci-gate@{self.uid}.service"

    def lie(self, mode: str = "") -> str:
        """A script that puts a lying bus in the place of the real one, and has the gate look for it anew."""
        return (
            f"mv {self.bus} {self.bus}.real; setsid python3 {THERE}/lyingbus.py {self.bus} {mode} >/dev/null 2>&1 & "
            f"echo $! >/run/user/{self.uid}/liar; until [ -S {self.bus} ]; do sleep 0.1; done; "
            f"kill -KILL $(systemctl show -P MainPID {self.gate})"
        )

    def repent(self) -> None:
        """Put the real bus back."""
        script = f"kill $(cat /run/user/{self.uid}/liar); mv {self.bus}.real {self.bus}; rm /run/user/{self.uid}/liar"
        self.server.sh(script, "probe-other")


@pytest.fixture
def mallory(server: TestHost) -> Iterator[Mallory]:
    mallory = Mallory(server)
    yield mallory
    if server.run(f"test -e {mallory.bus}.real").status == 0:
        mallory.repent()
    server.sh(f"systemctl restart {mallory.gate}")


def test_a_user_whose_bus_lies_harms_only_its_own_jobs(server: TestHost, work: Clone, mallory: Mallory) -> None:
    work("probe-other").script(f"{mallory.lie()}; sleep 300")
    lied = server.deploy(work("probe-other"))
    assert lied["state"] == "failed"
    assert "internal error" not in lied["reason"]
    assert "makes no sense" in lied["reason"] or "make no sense" in lied["reason"], lied["reason"]
    for repo in ("probe", "probe-root"):
        work(repo).script("true")
    others = [server.push(work(repo)).job for repo in ("probe", "probe-root")]
    assert [job["state"] for job in server.wait_all(others)] == ["succeeded"] * 2
    mallory.repent()
    work("probe-other").script("true")
    assert server.deploy(work("probe-other"))["state"] == "succeeded", "it is let back in when it is honest again"


def test_a_bus_that_has_its_gate_crash_is_tried_ever_more_rarely(
    server: TestHost, work: Clone, mallory: Mallory
) -> None:
    """xdg-dbus-proxy crashes when a bus says nothing of who owns a name; each start of it costs everybody."""
    server.sh(f"systemctl restart {mallory.gate}")
    server.sh(mallory.lie("silent"), "probe-other")
    work("probe-other").script("true")
    job = server.push(work("probe-other")).job
    show = f"systemctl show -P NRestarts {mallory.gate}"
    server.sh(f"until [ $({show}) -ge 3 ]; do sleep 0.1; done", limit=60)
    assert "SEGV" in server.sh(f"journalctl -u {mallory.gate} --no-pager -n 20 -o cat")
    # In seconds: ever longer, from one to sixty.
    assert server.sh(f"systemctl show -P RestartUSecNext {mallory.gate}").strip() not in ("1s", "2s", "3s", "4s")
    mallory.repent()
    assert server.wait(job)["state"] == "succeeded"


# -- who may push, and who is git --------------------------------------------------------------------------------


def log_memory(server: TestHost) -> int:
    """Bytes of Redis' memory that all logs take."""
    keys = server.keys("tinyci:log:*")
    return sum(map(int, server.redis_all([f"memory usage tinyci:log:{key}" for key in keys])))


def test_the_logs_of_chatty_builds_keep_to_their_budget(server: TestHost, work: Clone) -> None:
    """Each takes more than a third of it; the newest is there in full, and of the oldest the end of its output."""
    budget, jobs = MIB, []
    with server.config_file(f"[limits]\nlog_budget = {budget}"):
        for number in range(4):
            work("probe").script(f"echo {number}; head -c 300000 /dev/urandom | base64 -w 100; echo the end")
            jobs.append(server.deploy(work("probe"))["id"])
            assert server.job(jobs[-1])["state"] == "succeeded"
        end = time.monotonic() + 20
        while (memory := log_memory(server)) > budget:  # they go after the end of the job is told
            assert time.monotonic() < end, memory
    assert server.log(jobs[-1])[-1] == "the end"
    assert jobs[0] not in server.keys("tinyci:log:*")
    assert server.job(jobs[0])["output"].endswith("the end\n")
    assert server.sh(f"tinyci log {jobs[0]}", "nobody").endswith("the end\n")


NONSENSE = """
cd /var/spool/tinyci
python3 -c 'print("[" * 200000)' >1790000000000000-0001-x.json
mkdir 1790000000000000-0002-y.bad 1790000000000000-0003-z.json
touch 1790000000000000-0002-y.bad/full
echo nonsense >1790000000000000-0002-y.json
mkfifo 1790000000000000-0004-p.json
ln -s /etc/shadow 1790000000000000-0005-l.json
touch "$(printf '1790000000000000-0006\\n\\033[2Jall is well.json')"
"""


def test_nonsense_in_the_spool_is_named_and_stops_nobody(server: TestHost, work: Clone) -> None:
    since = server.sh("date +%s").strip()
    server.sh(NONSENSE, "git")
    try:
        work("probe").script("true")
        assert server.deploy(work("probe"))["state"] == "succeeded"
        log = server.sh(f"journalctl -u tinyci -o cat --no-pager --since @{since}")
        for name in ("0001-x", "0002-y", "0003-z", "0004-p", "0005-l", r"0006\x0a\x1b[2Jall is well"):
            assert log.count(f"1790000000000000-{name}.json is not a kept job") == 1, log
        report = server.run("tinyci doctor").text
        for name in ("0001-x.bad", "0002-y.json"):
            assert f"1790000000000000-{name}" in report, report
        assert "root:" not in log
    finally:
        server.sh("rm -rf /var/spool/tinyci/1790000000000000-*")


def test_a_job_is_cancelled_while_many_others_are_superseded(server: TestHost, work: Clone) -> None:
    """Two hundred pushes of one ref were kept while Redis was away."""
    work("probe").script("true")
    revision = server.deploy(work("probe"))["revision"]
    server.sh("systemctl stop redis-server@tinyci")
    try:
        hook = "cd /srv/git/probe.git && GIT_DIR=. /opt/tinyci/hooks/post-receive"
        lines = f"{revision} {revision} refs/heads/master\n" * 200
        jobs = re.findall(r"kept job ([0-9a-f-]{36})", server.sh(hook + " 2>&1", "git", stdin=lines))
        assert len(jobs) == 200
    finally:
        server.sh("systemctl start redis-server@tinyci")
    server.wait(jobs[150], ("superseded",))  # the oldest may be forgotten by now
    cancel = server.run(f"busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Cancel s {jobs[180]}")
    # On a fast host its end may be written before the request comes: what is answered is true.
    asked_for = "superseded" if cancel.status else "cancelled"
    assert server.wait(jobs[180])["state"] == asked_for, cancel.text
    assert server.wait(jobs[-1])["state"] == "succeeded"
    kept_states = server.redis_all([f"hget tinyci:job:{job} state" for job in jobs[-20:]])
    assert kept_states == [asked_for if job == jobs[180] else "superseded" for job in jobs[-20:-1]] + ["succeeded"]


AS_HOOK = (
    "redis-cli -s /run/redis-tinyci/redis.sock --no-auth-warning --user hook "
    '--pass "$(cat /etc/tinyci/credentials/redis-hook)"'
)


def test_who_has_the_hooks_password_neither_changes_nor_sees_a_job(server: TestHost, work: Clone) -> None:
    """With the tools of git's account: to end, revive, rename or deploy otherwise a job that there is."""
    work("probe").script("true")
    ended = server.push(work("probe")).job
    before = server.wait(ended)
    work("probe").script("for i in 1 2 3; do echo $i; sleep 1; done")
    running = server.push(work("probe")).job
    building = server.wait(running, ("building",))
    for job in (ended, running):
        for field in ("state queued", "state succeeded", "reason lies", "revision " + "b" * 40, "user root"):
            answer = server.run(f"{AS_HOOK} hset tinyci:job:{job} {field}", "git").text
            assert "NOPERM" in answer, answer
        lies = f"repo probe-root ref refs/heads/master revision {before['revision']} state queued"
        server.sh(f"{AS_HOOK} hset tinyci:new:{job} {lies}; {AS_HOOK} lpush tinyci:queue {job}", "git")
        for command in (f"hgetall tinyci:job:{job}", f"hgetall tinyci:new:{job}", f"xrange tinyci:log:{job} - +"):
            assert "NOPERM" in server.run(f"{AS_HOOK} {command}", "git").text, command
    end = server.wait(running)
    assert (end["state"], end["repo"], end["revision"]) == ("succeeded", "probe", building["revision"])
    work("probe").script("true")
    assert server.deploy(work("probe"))["state"] == "succeeded"  # whatever is in the queue was taken before
    assert server.job(ended) == before
    entries = server.redis_json("xrange tinyci:events - +")
    assert isinstance(entries, list)
    events = [dict(zip(values[::2], values[1::2], strict=True)) for _, values in entries]
    for job in (ended, running):
        ends = [event["state"] for event in events if event["job"] == job and "success" in event]
        assert ends == ["succeeded"], ends
