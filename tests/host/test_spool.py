"""A push is never lost because Redis is unwell: it is kept, told in a sentence, and deployed once, in order."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from testhost import Push, TestHost, Work

Clone = Callable[[str], Work]

ACL = "/etc/redis/users-tinyci.acl"
ADMIN = "redis-cli -s /run/redis-tinyci/redis.sock --no-auth-warning --user tests --pass tests"
PID = "$(systemctl show -P MainPID redis-server@tinyci)"
PASSWORD = "/etc/tinyci/credentials/redis-hook"

# How Redis is made unwell, how it is well again, and what the person who pushes is told of it.
UNWELL = {
    "full": (
        f"{ADMIN} config set maxmemory-policy noeviction; {ADMIN} config set maxmemory 1",
        f"{ADMIN} config set maxmemory 0",
        "OOM command not allowed when used memory > 'maxmemory'.",
    ),
    "read-only": (f"{ADMIN} replicaof 127.0.0.1 1", f"{ADMIN} replicaof no one", "READONLY You can't write against"),
    "without its replicas": (
        f"{ADMIN} config set min-replicas-to-write 1",
        f"{ADMIN} config set min-replicas-to-write 0",
        "NOREPLICAS Not enough good replicas to write.",
    ),
    "refusing": (
        f"cp -p {PASSWORD} /root/redis-hook; echo wrong >{PASSWORD}",
        f"cp -p /root/redis-hook {PASSWORD}",
        "WRONGPASS invalid username-password pair",
    ),
    "hanging": (f"kill -STOP {PID}", f"kill -CONT {PID}", "no answer within 2 s"),
    "without a list for its queue": (
        f"{ADMIN} set tinyci:queue text",
        f"{ADMIN} del tinyci:queue",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
    ),
    "without an index": (
        f"{ADMIN} rename tinyci:jobs kept:jobs; {ADMIN} set tinyci:jobs text",
        f"{ADMIN} del tinyci:jobs; {ADMIN} rename kept:jobs tinyci:jobs",
        "",  # it is the daemon's, which waits: the push is taken
    ),
}


@pytest.fixture(scope="module", autouse=True)
def admin(server: TestHost) -> Iterator[None]:
    """A user of Redis who may configure it."""
    server.sh(f"cp -p {ACL} /root/users.acl; echo 'user tests on >tests ~* &* +@all' >>{ACL}")
    server.sh("systemctl restart redis-server@tinyci")
    yield
    server.sh(f"cp -p /root/users.acl {ACL}; systemctl restart redis-server@tinyci")


def trace(server: TestHost) -> None:
    server.sh("rm -f /tmp/spool.ran; touch /tmp/spool.ran; chmod 666 /tmp/spool.ran")


def ran(server: TestHost) -> list[str]:
    """The jobs that were built, in order."""
    return server.sh("cat /tmp/spool.ran").split()


@pytest.mark.parametrize("how", UNWELL)
def test_a_push_to_a_redis_that_is_unwell_is_kept_and_deployed_once(server: TestHost, work: Clone, how: str) -> None:
    unwell, well, why = UNWELL[how]
    trace(server)
    pushes: list[Push] = []
    server.sh(unwell)
    try:
        for release in (1, 2, 1):
            work("probe").script(f"echo $TINYCI_JOB >>/tmp/spool.ran # {how} {time.time()}")
            began = time.monotonic()
            pushes.append(server.push(work("probe"), f"HEAD:refs/heads/release-{release}"))
            assert time.monotonic() - began < 5, "two seconds of Redis', and those of git and SSH"
    finally:
        server.sh(well)
    for each in pushes:
        sentences = [line for line in each.text.splitlines() if line.startswith("remote:") and " job " in line]
        assert len(sentences) == 1, each.text
        pattern = rf"kept job {each.job} for probe: Redis does not take it now \((?:.*)({why})"
        if not why:
            pattern = f"started job {each.job} for probe"
        assert re.search(pattern, sentences[0]), sentences
    jobs = [each.job for each in pushes]
    outcomes = server.wait_all(jobs)
    assert outcomes[2]["state"] == "succeeded"
    # The two of one ref: the later one may have come in before the earlier one began.
    assert [job["state"] for job in outcomes[:2]] == [outcomes[0]["state"], "succeeded"]
    assert outcomes[0]["state"] in ("succeeded", "superseded")
    assert ran(server) == [job for job, end in zip(jobs, outcomes, strict=True) if end["state"] == "succeeded"]
    assert server.sh("ls -A /var/spool/tinyci") == ""
    # Where Redis had carried out what it did not answer for, the file in the spool is a second one of a known job.
    assert {each.get("spooled") for each in outcomes} == {"true"} or how in ("hanging", "without an index")


def test_a_daemon_that_is_killed_while_it_takes_the_spool_in_takes_each_once(server: TestHost, work: Clone) -> None:
    trace(server)
    server.sh("systemctl stop redis-server@tinyci")
    try:
        work("probe").script("echo $TINYCI_JOB >>/tmp/spool.ran")
        jobs = server.push(work("probe"), *(f"HEAD:refs/heads/release-{number:02}" for number in range(50))).jobs
        assert len(jobs) == 50
    finally:
        # Killed three times at least with some taken in, and some not.
        files = server.sh(
            "exec 2>&1; systemctl start redis-server@tinyci\n"
            "count() { set -- /var/spool/tinyci/*.json; [ -e $1 ] && echo $# || echo 0; }\n"
            "for few in 45 30 15; do\n"
            "  until [ $(count) -lt $few ]; do :; done\n"
            "  systemctl kill --kill-whom=main --signal=KILL tinyci; count\n"
            "done",
            limit=60,
        ).split()
    print("left when it was killed:", files)
    assert 0 < int(files[0]) < 50
    outcomes = server.wait_all(jobs, limit=120)
    assert {job["state"] for job in outcomes} == {"succeeded"}
    assert ran(server) == jobs, "each once, in push order"
    assert server.sh("ls -A /var/spool/tinyci") == ""
    server.push(work("probe"), *(f":refs/heads/release-{number:02}" for number in range(50)))
