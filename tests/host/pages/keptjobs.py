"""Kept jobs put into Redis without a build, for pages to show."""

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from testhost import TestHost


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def quote(text: str) -> str:
    """Quote an argument for redis-cli; bytes that are no UTF-8 are surrogates."""
    if text.isascii() and text.isprintable() and not set(text) & set('"\\'):
        return f'"{text}"'
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode("utf-8", "surrogateescape")) + '"'


def commands(job: str, fields: Mapping[str, str], lines: Sequence[str], creation: float) -> Iterator[str]:
    flat = " ".join(f"{name} {quote(value)}" for name, value in fields.items())
    yield f"hset tinyci:job:{job} {flat}"
    yield f"zadd tinyci:jobs {creation} {job}"
    for number, line in enumerate(lines, 1):
        yield f"xadd tinyci:log:{job} {number}-0 line {quote(line)}"


def keep(server: TestHost, fields: Mapping[str, str], lines: Sequence[str], creation: float) -> str:
    """Add a kept job; return its id."""
    job = str(uuid.uuid4())
    replies = server.redis_all(list(commands(job, fields, lines, creation)))
    assert not any("ERR" in line or "NOPERM" in line for line in replies), replies
    return job


def forget(server: TestHost, jobs: Sequence[str]) -> None:
    portions = [list(jobs[start : start + 500]) for start in range(0, len(jobs), 500)]
    for part in portions:
        server.redis_all(
            [
                f"zrem tinyci:jobs {' '.join(part)}",
                f"unlink {' '.join(f'tinyci:job:{job} tinyci:log:{job}' for job in part)}",
            ]
        )


def jobs_of_repos(count: int, now: float, seed: int = 1) -> Iterator[tuple[str, dict[str, str], float]]:
    """Ended jobs of some repos with the fields that the daemon writes, one every few minutes, the newest at `now`."""
    chance = random.Random(seed)
    # More than the daemon keeps of each it would soon remove.
    repos = max(40, count // 90)
    for number in range(count):
        creation = now - number * 397.0
        wait, build = chance.uniform(0.01, 3), chance.lognormvariate(3, 1)
        state = chance.choices(["succeeded", "failed", "rolled-back", "cancelled"], [80, 12, 5, 3])[0]
        output = "".join(
            f"STEP {step}/40: RUN make -j2 part-{step} && install part-{step} /usr\n" for step in range(40)
        )
        yield (
            str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            {
                "repo": f"app-{number % repos:02}",
                "ref": f"refs/heads/{chance.choice(['main', 'main', 'main', 'release-1', 'feature/long-name-of-it'])}",
                "revision": f"{chance.getrandbits(160):040x}",
                "previous": f"{chance.getrandbits(160):040x}",
                "pusher": chance.choice(["ann", "bob", "carol@example.org"]),
                "created": stamp(creation),
                "state": state,
                "success": "true" if state == "succeeded" else "false",
                "started": stamp(creation + wait),
                "build_started": stamp(creation + wait),
                "build_duration": f"{build:.3f}",
                "restart_started": stamp(creation + wait + build),
                "restart_duration": "1.204",
                "verify_duration": "5.318",
                "finished": stamp(creation + wait + build + 6.6),
                "attempt": "1",
                "exit_status": "0" if state != "failed" else "2",
                "reason": "" if state == "succeeded" else "ci-build.sh exited with status 2",
                "unit": f"tinyci-build@{chance.getrandbits(128):032x}.service",
                "user": f"app-{number % repos:02}",
                "image": f"sha256:{chance.getrandbits(256):064x}",
                "running_image": f"sha256:{chance.getrandbits(256):064x}",
                "output": output,
            },
            creation,
        )


def fill(server: TestHost, count: int, now: float) -> list[str]:
    """Add that many kept jobs; return their ids, the newest first."""
    jobs, pipe = [], []
    for job, fields, creation in jobs_of_repos(count, now):
        jobs.append(job)
        pipe += commands(job, fields, (), creation)
    replies = server.redis_all(pipe)
    assert not any("ERR" in line or "NOPERM" in line for line in replies), replies[:3]
    return jobs
