"""A push is never refused, lost or blocked because Redis does not take it: the job waits in the spool."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hookhost import Host
from servers import Peer, Redis
from tinyci.daemon import spool
from tinyci.model.job import Job

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
BLOCKED = 4.0
"""Seconds that no push may take, however bad it stands with Redis."""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host whose Redis does not run."""
    (tmp_path / "redis").mkdir()
    return Host(tmp_path, Redis(tmp_path / "redis"))


def kept(host: Host) -> list[spool.Spooled]:
    """What the daemon finds in the spool."""
    found = list(spool.jobs(str(host.spool)))
    assert not [each.problem for each in found if each.problem]
    return found


def the_kept(host: Host, said: list[str]) -> tuple[spool.Spooled, str]:
    """The one kept job, which the hook told of, and why it is kept."""
    assert len(said) == 1, said[-5:]
    (job,) = kept(host)
    why = re.fullmatch(f"kept job {job.id} for web: Redis does not take it now \\((.+)\\)\\.", said[0])
    assert why, said
    return job, why[1]


# -- kept --------------------------------------------------------------------------------------------------------


def test_a_push_without_redis_is_kept_and_told(host: Host) -> None:
    revision = host.clone.commit()
    job, why = the_kept(host, host.push(TINYCI_PUSHER="lea"))
    assert "No such file or directory" in why
    assert re.fullmatch(UUID, job.id)
    created = datetime.fromisoformat(job.fields.pop("created"))
    assert abs(job.created - created.timestamp()) < 1e-5
    assert job.fields == {
        "repo": "web",
        "ref": "refs/heads/main",
        "revision": revision,
        "previous": "0" * 40,
        "pusher": "lea",
    }
    assert Job.parse(job.id, job.fields).revision == revision
    assert [path.name for path in host.spool.iterdir()] == [job.path.name]  # nothing half written is left


def test_a_kept_job_cannot_be_followed_and_the_push_says_so(host: Host) -> None:
    host.clone.commit()
    kept_, about = host.push("-o", "follow", "main")
    job, _ = the_kept(host, [kept_])
    assert about == (
        f"job {job.id} cannot be followed before Redis has it; then 'tinyci log -f {job.id}' on the server shows it."
    )


def test_kept_jobs_are_in_push_order(host: Host) -> None:
    host.repo("web", refs='["refs/heads/*"]')
    told = []
    for _ in range(2):
        host.clone.commit()
        told += host.push("main", "main:b", "main:a")
    ids = [found[0] for found in map(re.compile(UUID).search, told) if found]
    assert len(ids) == 6
    assert [job.id for job in kept(host)] == ids


def test_the_daemon_may_read_what_is_kept(host: Host) -> None:
    """The daemon is another user than the one whom git runs as, and that one's umask may be strict."""
    host.clone.commit()
    host.push()
    (job,) = kept(host)
    assert job.path.stat().st_mode & 0o777 == 0o644


def test_a_redis_that_hangs_does_not_block_the_push(own_redis: Redis, tmp_path: Path) -> None:
    host = Host(tmp_path, own_redis)
    host.repo("web", refs='["refs/heads/*"]')
    host.clone.commit()
    own_redis.pause()
    began = time.monotonic()
    said = host.push("main", "main:a", "main:b")  # three jobs wait no longer than one
    assert time.monotonic() - began < BLOCKED
    assert len(kept(host)) == 3
    assert "timed out" in said[0] or "no answer within 2 s" in said[0]
    own_redis.resume()
    assert not own_redis.data.exists("tinyci:queue")


def test_a_redis_that_died_is_no_reason_to_lose_a_job(own_redis: Redis, tmp_path: Path) -> None:
    host = Host(tmp_path, own_redis)
    host.clone.commit()
    own_redis.kill()
    _, why = the_kept(host, host.push())
    assert "Connection refused" in why


def test_a_wrong_password_is_told_and_the_job_kept(own_redis: Redis, tmp_path: Path) -> None:
    host = Host(tmp_path, own_redis)
    host.password("wrong")
    host.clone.commit()
    _, why = the_kept(host, host.push())
    assert why.startswith("WRONGPASS")


def test_a_user_who_lost_a_permission_is_told_and_nothing_is_half_done(own_redis: Redis, tmp_path: Path) -> None:
    host = Host(tmp_path, own_redis)
    own_redis.data.execute_command("ACL", "SETUSER", "hook", "-lpush", "clearselectors")
    host.clone.commit()
    _, why = the_kept(host, host.push())
    assert why.startswith("NOPERM")
    assert own_redis.data.keys("tinyci:*") == []


def test_a_redis_that_is_full_is_told_and_nothing_is_half_done(own_redis: Redis, tmp_path: Path) -> None:
    host = Host(tmp_path, own_redis)
    own_redis.data.config_set("maxmemory", "1")
    host.clone.commit()
    _, why = the_kept(host, host.push())
    assert why.startswith("OOM")
    own_redis.data.config_set("maxmemory", "0")
    assert own_redis.data.keys("tinyci:*") == []


# -- what is no Redis --------------------------------------------------------------------------------------------


@pytest.fixture
def listening(host: Host) -> Iterator[Callable[[Callable[[socket.socket], object]], None]]:
    """Something else listens where Redis should."""
    peers: list[Peer] = []
    yield lambda talk: peers.append(Peer(Path(host.redis.socket), talk))
    for peer in peers:
        peer.close()


def say(data: bytes) -> Callable[[socket.socket], None]:
    """Says something, whatever is asked, and nothing after that."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    return talk


def trickle(connection: socket.socket) -> None:
    """Never silent for two seconds, and never done."""
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
    host: Host, listening: Callable[[Callable[[socket.socket], object]], None], talk: Callable[[socket.socket], object]
) -> None:
    listening(talk)
    host.clone.commit()
    began = time.monotonic()
    the_kept(host, host.push())
    assert time.monotonic() - began < BLOCKED


# -- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (b"[redis\n", "tinyci.toml: not TOML"),
        (b"[redis]\nsocket = 5\n", "tinyci.toml: redis.socket: expected the absolute path of a Unix socket"),
        (b"# caf\xe9\n", "tinyci.toml"),
        (b'[redis]\nsocket = "/' + b"x" * 200 + b'"\n', "AF_UNIX path too long"),
    ],
)
def test_a_wrong_configuration_is_told_and_the_job_kept(host: Host, config: bytes, why: str) -> None:
    host.config(config)
    host.clone.commit()
    _, said = the_kept(host, host.push())
    assert why in said


def test_a_missing_password_is_told_and_the_job_kept(host: Host) -> None:
    (host.etc / "credentials" / "redis-hook").unlink()
    host.clone.commit()
    _, why = the_kept(host, host.push())
    assert "credentials/redis-hook" in why


def test_without_a_configuration_the_usual_place_is_tried(host: Host) -> None:
    (host.etc / "tinyci.toml").unlink()
    host.clone.commit()
    _, why = the_kept(host, host.push())
    assert "No such file or directory" in why


# -- the worst ---------------------------------------------------------------------------------------------------


def test_without_redis_and_spool_the_push_is_done_and_the_loss_is_told(host: Host) -> None:
    host.spool.rmdir()
    revision = host.clone.commit()
    lost, advice = host.push()  # which would raise if the hook had failed
    assert lost.startswith("no job for web: Redis does not take it (")
    assert str(host.spool) in lost
    assert (
        advice == "the push itself is done: ask the admin to look at tinyci's Redis and its spool, and push again then."
    )
    assert host.clone.git("ls-remote", "origin", "main").split()[0] == revision
