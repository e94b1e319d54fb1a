"""The playbooks: what they leave is what they say, and a second run changes nothing."""

import re
import subprocess

from testhost import HOST, TestHost
from testinfra.host import Host


def test_a_second_run_changes_nothing(box: TestHost) -> None:
    done = subprocess.run([HOST, "provision", box.name], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    recaps = re.findall(r"ok=\d+ +changed=(\d+)", done.stdout)
    assert len(recaps) == 2, done.stdout
    assert recaps == ["0", "0"], "\n".join(line for line in done.stdout.splitlines() if "changed:" in line)


def test_redis_is_reached_by_its_socket_alone(box: TestHost, server: Host) -> None:
    socket = server.file("/run/redis-tinyci/redis.sock")
    assert (socket.group, oct(socket.mode)) == ("tinyci-redis", "0o770")
    assert not server.socket("tcp://6379").is_listening
    assert box.redis("config get appendonly") == [] or "NOPERM" in box.redis("config get appendonly")[0]
    assert "appendonly yes" in box.sh("cat /etc/redis/redis-tinyci.conf")


def test_the_hooks_redis_user_may_only_enqueue(box: TestHost) -> None:
    redis = (
        "redis-cli -s /run/redis-tinyci/redis.sock --no-auth-warning --user hook "
        '--pass "$(cat /etc/tinyci/credentials/redis-hook)"'
    )
    for command in (
        "keys x",
        "hgetall tinyci:job:x",
        "lrange tinyci:queue 0 -1",
        "del tinyci:queue",
        "hset tinyci:other a b",
        "lpush tinyci:accepted x",
        "flushall",
        "config get save",
    ):
        assert "NOPERM" in box.run(f"{redis} {command}", "git").text, command
    assert "denied" in box.run(f"{redis} ping", "nobody").text, "neither the password nor the socket"


def test_only_git_and_the_apps_user_read_a_repository(box: TestHost) -> None:
    assert box.sh("stat -c '%U %G %a' /srv/git/probe.git") == "git probe 2750\n"
    assert box.run("cat /srv/git/probe.git/HEAD", "probe").status == 0
    assert box.run("cat /srv/git/probe.git/HEAD", "probe-other").status != 0
    assert box.run("cat /srv/git/probe.git/HEAD", "nobody").status != 0


def test_an_app_user_is_up_with_nobody_logged_in(box: TestHost, server: Host) -> None:
    assert server.user("probe").shell == "/usr/sbin/nologin"
    assert server.file("/var/lib/systemd/linger/probe").exists
    assert box.systemctl("probe", "is-system-running").out.strip() in ("running", "degraded")
    # systemd 256 and later count the manager itself as a session, of its own class.
    sessions = box.sh("loginctl list-sessions --no-legend | grep -w probe || true").splitlines()
    assert all("manager" in session for session in sessions), sessions
    assert re.search(r"^probe:\d+:65536$", box.sh("cat /etc/subuid"), re.M)
