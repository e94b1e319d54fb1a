"""People are told of deploys by a real ntfy server: of what they should be, once, and later when it cannot be now."""

import re
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
from ntfyserver import URLS, Ntfy, event_count, serve, short_title, url
from testhost import TestHost, Work

Clone = Callable[[str], Work]


@pytest.fixture(scope="module")
def ntfy_server(server: TestHost) -> Iterator[Ntfy]:
    with serve(server) as ntfy:
        yield ntfy


@pytest.fixture
def ntfy(ntfy_server: Ntfy, server: TestHost) -> Ntfy:
    """Nothing of before counts: no repo is in trouble, and none was told of so lately that it would wait for longer."""
    server.sh("systemctl stop tinyci-notify")
    position = "import json; m = json.load(open('memory.json')); m.update(troubled=[], waiting={})"
    server.sh(
        f"cd /var/lib/tinyci-notify 2>/dev/null && [ -e memory.json ] || exit 0\n"
        f"""python3 -c "{position}; open('memory.json', 'w').write(json.dumps(m))" """
    )
    server.sh("systemctl start tinyci-notify")
    ntfy_server.forget()
    return ntfy_server


def fail(server: TestHost, work: Work, why: str = "echo the last words; exit 3") -> dict[str, str]:
    work.script(why, f"Fail at {time.time()}")
    return server.deploy(work)


def succeed(server: TestHost, work: Work) -> dict[str, str]:
    work.script("echo well", f"Succeed at {time.time()}")
    return server.deploy(work)


def burst(server: TestHost, count: int, state: str = "rejected") -> None:
    """Jobs that end at once: of refs that the repo does not deploy."""
    jobs = [str(uuid.uuid4()) for _ in range(count)]
    commands = []
    for place, job in enumerate(jobs):
        commands.append(f"hset tinyci:job:{job} repo probe ref refs/heads/no-{place} revision {'a' * 40}")
        commands.append(f"lpush tinyci:queue {job}")
    server.redis_all(commands)
    assert {each["state"] for each in server.wait_all(jobs[-1:])} == {state}


def test_it_is_nobody_and_can_do_little(ntfy: Ntfy, server: TestHost) -> None:
    report = server.sh("systemd-analyze security --no-pager tinyci-notify.service")
    print(report.splitlines()[-1])
    level = re.search(r"Overall exposure level for tinyci-notify.service: ([0-9.]+)", report)
    assert level
    assert float(level[1]) <= 1.0
    assert server.run("systemd-analyze verify --man=no tinyci-notify.service").text == ""
    pid = server.sh("systemctl show -P MainPID tinyci-notify").strip()
    view = server.sh(f"nsenter -t {pid} -m ls / /run")
    assert not {"srv", "boot", "tinyci", "tinyci-gate", "dbus"}.intersection(view.split()), view
    status = server.sh(f"cat /proc/{pid}/status")
    assert re.search(r"^CapBnd:\s+0000000000000000$", status, re.M)
    assert not re.search(r"^Uid:\s+0\b", status, re.M)
    memory = re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)
    assert memory
    print(f"resident: {int(memory[1]) / 1024:.0f} MB")
    assert int(memory[1]) < 150 * 1024


def test_a_failure_and_a_recovery_are_told_and_an_uneventful_success_is_not(
    ntfy: Ntfy, server: TestHost, work: Clone
) -> None:
    pages = tomllib.loads(server.sh("cat /etc/tinyci/tinyci.toml")).get("web", {}).get("url", "")
    with nullcontext() if pages else server.config_file('[web]\nurl = "http://ci.example/"\n'):
        pages = pages or "http://ci.example/"
        failure = fail(server, work("probe"))
        (first,) = ntfy.wait_for(1)
        recovery = succeed(server, work("probe"))
        second = ntfy.wait_for(2)[1]
        succeed(server, work("probe"))
        fail(server, work("probe"))
        ntfy.wait_for(3)
    at = f"\u2013 master at {failure['revision'][:7]}"
    assert (first["title"], first["priority"], first["tags"]) == (f"probe: failed {at}", 4, ["rotating_light"])
    assert first["click"] == f"{pages.rstrip('/')}/jobs/{failure['id']}"
    assert re.match(r"Failed after \d+\.\d s: .*status 3", first["message"]), first
    assert first["message"].endswith("\n\nthe last words")
    assert (short_title(second), second.get("priority", 3), second["tags"]) == (
        "probe: recovered",
        3,
        ["white_check_mark"],
    )
    assert second["click"].endswith(f"/jobs/{recovery['id']}")
    assert [short_title(each) for each in ntfy.messages()] == ["probe: failed", "probe: recovered", "probe: failed"]


def test_a_repo_is_told_of_as_its_file_says(ntfy: Ntfy, server: TestHost, work: Clone) -> None:
    with server.repo_file("probe", notify='["deploy"]'), server.repo_file("probe-other", notify='["never"]'):
        succeed(server, work("probe"))
        (first,) = ntfy.wait_for(1)
        fail(server, work("probe-other"))
        succeed(server, work("probe"))
        ntfy.wait_for(2)
    assert [short_title(each) for each in ntfy.messages()] == ["probe: succeeded"] * 2
    assert first["priority"] == 2


def test_a_server_that_was_down_is_told_once_when_it_is_back(
    ntfy: Ntfy, server: TestHost, work: Clone, request: pytest.FixtureRequest
) -> None:
    """`--outage 60` for a minute of it."""
    ntfy.stop()
    failure = fail(server, work("probe"))
    server.sh(
        "until systemctl show -P StatusText tinyci-notify | grep -q 'connection is refused'; do sleep 0.2; done",
        limit=30,
    )
    time.sleep(request.config.getoption("--outage"))
    ntfy.start()
    begin = time.monotonic()
    (message,) = ntfy.wait_for(1, limit=120)
    print(f"told {time.monotonic() - begin:.1f} s after it was back")
    assert time.monotonic() - begin < 10 + request.config.getoption("--outage") / 3
    assert message["title"] == f"probe: failed \u2013 master at {failure['revision'][:7]}"
    succeed(server, work("probe"))
    ntfy.wait_for(2)
    assert [short_title(each) for each in ntfy.messages()] == ["probe: failed", "probe: recovered"]


def test_a_burst_is_a_handful_of_messages(ntfy: Ntfy, server: TestHost) -> None:
    burst(server, 100)
    messages = ntfy.wait_for_events(100)
    print(f"100 events, {len(messages)} messages: {[event_count(each) for each in messages]}")
    assert len(messages) <= 5
    assert sum(map(event_count, messages)) == 100
    assert all(short_title(each).startswith("probe: ") for each in messages)


def test_what_happened_while_it_was_stopped_is_told_when_it_is_back(ntfy: Ntfy, server: TestHost, work: Clone) -> None:
    server.sh("systemctl stop tinyci-notify")
    burst(server, 50)
    assert succeed(server, work("probe-other"))["state"] == "succeeded", "deploys go on"
    assert not ntfy.messages()
    server.sh("systemctl start tinyci-notify")
    (message,) = ntfy.wait_for(1)
    assert (short_title(message), event_count(message)) == ("probe: 50 deploys, last rejected", 50)


def test_killed_in_the_middle_it_misses_nothing(ntfy: Ntfy, server: TestHost, work: Clone) -> None:
    for _ in range(2):
        burst(server, 20)
        server.kill("tinyci-notify")
    messages = ntfy.wait_for_events(40)
    print(f"40 events, 2 kills: {[event_count(each) for each in messages]}")
    succeed(server, work("probe"))
    messages = ntfy.wait_for(len(messages) + 1)
    assert short_title(messages[-1]) == "probe: recovered"
    # Told again is at most what a kill met between the server's answer and the note of it.
    assert 40 <= sum(map(event_count, messages[:-1])) <= 60


def test_broken_it_holds_no_deploy_up(ntfy: Ntfy, server: TestHost, work: Clone) -> None:
    password = "/etc/tinyci/credentials/redis-notify"
    server.sh(f"cp -p {password} /root/redis-notify; echo -n wrong >{password}")
    try:
        server.sh("systemctl restart --no-block tinyci-notify")
        server.sh(
            "until systemctl show -P StatusText tinyci-notify | grep -q username-password; do sleep 0.2; done", limit=30
        )
        failure = fail(server, work("probe"))
        assert failure["state"] == "failed"
        assert succeed(server, work("probe"))["state"] == "succeeded"
    finally:
        server.sh(f"cp -p /root/redis-notify {password}; systemctl restart tinyci-notify")
    (message,) = ntfy.wait_for(1)
    assert short_title(message) == "probe: failed, then recovered"
    # And one that hangs, with all that it has.
    server.sh("systemctl kill --signal=STOP tinyci-notify")
    try:
        assert fail(server, work("probe"))["state"] == "failed"
    finally:
        server.sh("systemctl kill --signal=CONT tinyci-notify")
    assert short_title(ntfy.wait_for(2)[1]) == "probe: failed"


def test_the_secret_is_nowhere_to_be_seen(ntfy: Ntfy, server: TestHost, work: Clone) -> None:
    wrong = "tk_wr0ngwr0ngwr0ngwr0ngwr0ngwr0"
    urls = f"{url(ntfy)}ntfy://{wrong}@127.0.0.1:2586/tinyci\nslack://{wrong}\nntfy://{wrong}@127.0.0.1:1/x\nnosuch://{wrong}\n"
    try:
        server.sh(f"umask 077; cat >{URLS}; systemctl restart tinyci-notify", stdin=urls)
        job = fail(server, work("probe"))
        ntfy.wait_for(1)
        server.sh(
            "until systemctl show -P StatusText tinyci-notify | grep -q 'status 40'; do sleep 0.2; done", limit=30
        )
        test = server.run("/opt/tinyci/bin/tinyci-notify --test")
        commands = {
            "journal": "journalctl -o verbose --no-pager -u tinyci-notify -u tinyci",
            "properties": "systemctl show tinyci-notify tinyci",
            "status": "systemctl status --full --no-pager tinyci-notify",
            "processes": "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'",
            "job": f"tinyci show {job['id']}; tinyci show --json {job['id']}; tinyci events --json",
            "Redis": "for key in $(redis-cli -s /run/redis-tinyci/redis.sock --no-auth-warning --user daemon --pass "
            '"$(cat /etc/tinyci/credentials/redis-daemon)" keys "*"); do echo $key; done',
            "kept": "cat /var/lib/private/tinyci-notify/*",
            "files": "ls -lR /run/credentials /etc/tinyci",
            "bus": "busctl introspect org.tinyci1 /org/tinyci1",
            "pages": f"cd /; for page in '' jobs/{job['id']} api/jobs metrics; do "
            "curl -sf --unix-socket /run/tinyci-web/socket http://localhost/$page; done",
        }
        texts = {place: server.run(command).text for place, command in commands.items()}
    finally:
        server.sh(f"umask 077; cat >{URLS}; systemctl restart tinyci-notify", stdin=url(ntfy))
    print(texts["status"])
    print(test.text)
    for place, text in {**texts, "test": test.text}.items():
        assert len(text) > 20, place
        for secret in (ntfy.token, wrong):
            assert secret not in text and secret.removeprefix("tk_") not in text, place
    assert "a URL is left out, line 4: slack:// is not a URL that Apprise can use" in texts["journal"]
    assert "a URL is left out, line 6: nosuch://" in texts["journal"]
    assert re.search(r"ntfy://127.0.0.1 \(line 3\): it answers with status 40\d", texts["status"])
    assert "sent: ntfy://127.0.0.1 (line 2)" in test.out
    assert "not sent: ntfy://127.0.0.1 (line 5): the connection is refused" in test.out
    assert test.status == 1
    mode = server.sh(f"stat -c '%a %U' {URLS}").strip()
    assert mode == "600 root"
    reading = server.run(f"cat {URLS} /run/credentials/tinyci-notify.service/urls", "nobody")
    assert (reading.out, reading.err.count("Permission denied")) == ("", 2)
