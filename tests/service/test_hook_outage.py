"""A push is never refused, lost or blocked because Redis does not take it: the job waits in the spool."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hookhost import HookHost
from servers import Peer, Redis
from tinyci.daemon import spool
from tinyci.model.job import Job
from tinyci.model.moment import Moment

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
BLOCKED = 4.0
"""Seconds that no push may take, whatever is wrong with Redis."""


@pytest.fixture
def host(tmp_path: Path) -> HookHost:
    """A host whose Redis does not run."""
    (tmp_path / "redis").mkdir()
    return HookHost(tmp_path, Redis(tmp_path / "redis"))


def spooled_jobs(host: HookHost) -> list[spool.SpoolFile]:
    """Return the jobs that the daemon finds in the spool."""
    jobs = list(spool.read(str(host.spool)))
    assert not [job.problem for job in jobs if job.problem]
    return jobs


def the_spooled_job(host: HookHost, lines: list[str]) -> tuple[spool.SpoolFile, str]:
    """Return the only job in the spool, and the reason that the hook's only line gives for it."""
    assert len(lines) == 1, lines[-5:]
    (job,) = spooled_jobs(host)
    match = re.fullmatch(f"kept job {job.id} for web: Redis does not take it now \\((.+)\\)\\.", lines[0])
    assert match, lines
    return job, match[1]


# -- kept --------------------------------------------------------------------------------------------------------


def test_a_push_without_redis_is_kept_and_told(host: HookHost) -> None:
    revision = host.clone.commit()
    job, reason = the_spooled_job(host, host.push(TINYCI_PUSHER="lea"))
    assert "No such file or directory" in reason
    assert re.fullmatch(UUID, job.id)
    created = datetime.fromisoformat(job.fields.pop("created"))
    assert abs(job.time - created.timestamp()) < 1e-5
    assert Moment.parse(job.fields.pop("moment"))
    assert job.fields == {
        "repo": "web",
        "ref": "refs/heads/main",
        "revision": revision,
        "previous": "0" * 40,
        "pusher": "lea",
    }
    assert Job.parse(job.id, job.fields).revision == revision
    assert [path.name for path in host.spool.iterdir()] == [job.path.name]  # nothing half written is left


def test_a_kept_job_cannot_be_followed_and_the_push_says_so(host: HookHost) -> None:
    host.clone.commit()
    line, hint = host.push("-o", "follow", "main")
    job, _ = the_spooled_job(host, [line])
    assert hint == (
        f"job {job.id} cannot be followed before Redis has it; then 'tinyci log -f {job.id}' on the server shows it."
    )


def test_kept_jobs_are_in_push_order(host: HookHost) -> None:
    host.write_repo("web", refs='["refs/heads/*"]')
    lines = []
    for _ in range(2):
        host.clone.commit()
        lines += host.push("main", "main:b", "main:a")
    ids = [match[0] for match in map(re.compile(UUID).search, lines) if match]
    assert len(ids) == 6
    assert [job.id for job in spooled_jobs(host)] == ids


def test_the_daemon_may_read_what_is_kept(host: HookHost) -> None:
    """The daemon and git run as different users, and the umask of git's may be strict."""
    host.clone.commit()
    host.push()
    (job,) = spooled_jobs(host)
    assert job.path.stat().st_mode & 0o777 == 0o644


def test_a_redis_that_hangs_does_not_block_the_push(own_redis: Redis, tmp_path: Path) -> None:
    host = HookHost(tmp_path, own_redis)
    host.write_repo("web", refs='["refs/heads/*"]')
    host.clone.commit()
    own_redis.pause()
    began = time.monotonic()
    lines = host.push("main", "main:a", "main:b")  # three jobs wait no longer than one
    assert time.monotonic() - began < BLOCKED
    assert len(spooled_jobs(host)) == 3
    assert "timed out" in lines[0] or "no answer within 2 s" in lines[0]
    own_redis.resume()
    assert not own_redis.data.exists("tinyci:queue")


def test_a_redis_that_died_is_no_reason_to_lose_a_job(own_redis: Redis, tmp_path: Path) -> None:
    host = HookHost(tmp_path, own_redis)
    host.clone.commit()
    own_redis.kill()
    _, reason = the_spooled_job(host, host.push())
    assert "Connection refused" in reason


def test_a_wrong_password_is_told_and_the_job_kept(own_redis: Redis, tmp_path: Path) -> None:
    host = HookHost(tmp_path, own_redis)
    host.write_password("wrong")
    host.clone.commit()
    _, reason = the_spooled_job(host, host.push())
    assert reason.startswith("WRONGPASS")


def test_a_user_who_lost_a_permission_is_told_and_nothing_is_half_done(own_redis: Redis, tmp_path: Path) -> None:
    host = HookHost(tmp_path, own_redis)
    own_redis.data.execute_command("ACL", "SETUSER", "hook", "-lpush", "clearselectors")
    host.clone.commit()
    _, reason = the_spooled_job(host, host.push())
    assert reason.startswith("NOPERM")
    assert own_redis.data.keys("tinyci:*") == []


def test_a_redis_that_is_full_is_told_and_nothing_is_half_done(own_redis: Redis, tmp_path: Path) -> None:
    host = HookHost(tmp_path, own_redis)
    own_redis.data.config_set("maxmemory", "1")
    host.clone.commit()
    _, reason = the_spooled_job(host, host.push())
    assert reason.startswith("OOM")
    own_redis.data.config_set("maxmemory", "0")
    assert own_redis.data.keys("tinyci:*") == []


# -- what is no Redis --------------------------------------------------------------------------------------------


@pytest.fixture
def listen(host: HookHost) -> Iterator[Callable[[Callable[[socket.socket], object]], None]]:
    """Let something else listen where Redis should."""
    peers: list[Peer] = []
    yield lambda talk: peers.append(Peer(Path(host.redis.socket), talk))
    for peer in peers:
        peer.close()


def say(data: bytes) -> Callable[[socket.socket], None]:
    """Send something, whatever the client sends, and nothing after that."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    return talk


def trickle(connection: socket.socket) -> None:
    """Never be silent for two seconds, and never come to an end."""
    while connection.recv(4096):
        for _ in range(100):
            connection.sendall(b"+")
            time.sleep(0.1)


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(say(b""), id="hangs up"),
        pytest.param(trickle, id="trickles"),
        pytest.param(say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), id="another protocol"),
        pytest.param(say(b"\r\n" * 6), id="empty lines"),
        pytest.param(say(b"+OK\r\n" * 5 + b"*x\r\n"), id="a count that is none"),
        pytest.param(say(b"+OK\r\n" * 5 + b"*-1\r\n"), id="an aborted EXEC"),
        pytest.param(say(b"+OK\r\n" * 5 + b"*1\r\n" * 5000), id="too deep"),
    ],
)
def test_whatever_answers_the_push_is_kept(
    host: HookHost, listen: Callable[[Callable[[socket.socket], object]], None], talk: Callable[[socket.socket], object]
) -> None:
    listen(talk)
    host.clone.commit()
    began = time.monotonic()
    the_spooled_job(host, host.push())
    assert time.monotonic() - began < BLOCKED


# -- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (b"[redis\n", "tinyci.toml: not TOML"),
        (b"[redis]\nsocket = 5\n", "tinyci.toml: redis.socket: expected the absolute path of a Unix socket"),
        (b"# caf\xe9\n", "tinyci.toml"),
        (b'[redis]\nsocket = "/' + b"x" * 200 + b'"\n', "AF_UNIX path too long"),
    ],
)
def test_a_wrong_configuration_is_told_and_the_job_kept(host: HookHost, config: bytes, problem: str) -> None:
    host.write_config(config)
    host.clone.commit()
    _, reason = the_spooled_job(host, host.push())
    assert problem in reason


def test_a_missing_password_is_told_and_the_job_kept(host: HookHost) -> None:
    (host.etc / "credentials" / "redis-hook").unlink()
    host.clone.commit()
    _, reason = the_spooled_job(host, host.push())
    assert "credentials/redis-hook" in reason


def test_without_a_configuration_the_usual_place_is_tried(host: HookHost) -> None:
    (host.etc / "tinyci.toml").unlink()
    host.clone.commit()
    _, reason = the_spooled_job(host, host.push())
    assert "No such file or directory" in reason


# -- the worst ---------------------------------------------------------------------------------------------------


def test_without_redis_and_spool_the_push_is_done_and_the_loss_is_told(host: HookHost) -> None:
    host.spool.rmdir()
    revision = host.clone.commit()
    loss, advice = host.push()  # which would raise if the hook had failed
    assert loss.startswith("no job for web: Redis does not take it (")
    assert str(host.spool) in loss
    assert advice == (
        "the push itself is done: ask the admin to look at tinyci's Redis and its spool; then 'tinyci run web' on the "
        "server makes its job."
    )
    assert host.clone.git("ls-remote", "origin", "main").split()[0] == revision
