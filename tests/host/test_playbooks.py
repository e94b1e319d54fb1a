"""The playbooks: what they leave is what they say, and a second run changes nothing."""

import re
import subprocess

from testhost import HOST, TestHost
from testinfra.host import Host


def test_a_second_run_changes_nothing(server: TestHost) -> None:
    result = subprocess.run([HOST, "provision", server.name], capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    recaps = re.findall(r"ok=\d+ +changed=(\d+)", result.stdout)
    assert len(recaps) == 2, result.stdout
    assert recaps == ["0", "0"], "\n".join(line for line in result.stdout.splitlines() if "changed:" in line)


def test_redis_is_reached_by_its_socket_alone(server: TestHost, testinfra_host: Host) -> None:
    socket = testinfra_host.file("/run/redis-tinyci/redis.sock")
    assert (socket.group, oct(socket.mode)) == ("tinyci-redis", "0o770")
    assert not testinfra_host.socket("tcp://6379").is_listening
    assert server.redis("config get appendonly") == [] or "NOPERM" in server.redis("config get appendonly")[0]
    assert "appendonly yes" in server.sh("cat /etc/redis/redis-tinyci.conf")


def test_the_hooks_redis_user_may_only_enqueue(server: TestHost) -> None:
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
        "hset tinyci:job:x state queued",
        "zadd tinyci:jobs 1 x",
        "lpush tinyci:accepted x",
        "flushall",
        "config get save",
    ):
        assert "NOPERM" in server.run(f"{redis} {command}", "git").text, command
    assert "denied" in server.run(f"{redis} ping", "nobody").text, "neither the password nor the socket"


def test_only_git_and_the_apps_user_read_a_repository(server: TestHost) -> None:
    assert server.sh("stat -c '%U %G %a' /srv/git/probe.git") == "git git 2750\n"
    assert server.run("cat /srv/git/probe.git/HEAD", "probe").status == 0
    assert server.run("cat /srv/git/probe.git/HEAD", "probe-other").status != 0
    assert server.run("cat /srv/git/probe.git/HEAD", "nobody").status != 0


def test_an_app_user_is_up_with_nobody_logged_in(server: TestHost, testinfra_host: Host) -> None:
    assert testinfra_host.user("probe").shell == "/usr/sbin/nologin"
    assert testinfra_host.file("/var/lib/systemd/linger/probe").exists
    assert server.systemctl("probe", "is-system-running").out.strip() in ("running", "degraded")
    # systemd 256 and later count the manager itself as a session, of its own class.
    sessions = server.sh("loginctl list-sessions --no-legend | grep -w probe || true").splitlines()
    assert all("manager" in session for session in sessions), sessions
    assert re.search(r"^probe:\d+:65536$", server.sh("cat /etc/subuid"), re.M)
