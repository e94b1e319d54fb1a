"""Jobs put into Redis as if they had been: what the pages are to show without anything having to build."""

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from testhost import TestHost


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def quoted(text: str) -> str:
    """An argument for redis-cli; bytes that are no UTF-8 as surrogates."""
    if text.isascii() and text.isprintable() and not set(text) & set('"\\'):
        return f'"{text}"'
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode("utf-8", "surrogateescape")) + '"'


def commands(job: str, fields: Mapping[str, str], lines: Sequence[str], created: float) -> Iterator[str]:
    flat = " ".join(f"{name} {quoted(value)}" for name, value in fields.items())
    yield f"hset tinyci:job:{job} {flat}"
    yield f"zadd tinyci:jobs {created} {job}"
    for number, line in enumerate(lines, 1):
        yield f"xadd tinyci:log:{job} {number}-0 line {quoted(line)}"


def keep(server: TestHost, fields: Mapping[str, str], lines: Sequence[str], created: float) -> str:
    """One more kept job; its id."""
    job = str(uuid.uuid4())
    said = server.redis_all(list(commands(job, fields, lines, created)))
    assert not any("ERR" in line or "NOPERM" in line for line in said), said
    return job


def forget(server: TestHost, jobs: Sequence[str]) -> None:
    some = [list(jobs[start : start + 500]) for start in range(0, len(jobs), 500)]
    for part in some:
        server.redis_all(
            [
                f"zrem tinyci:jobs {' '.join(part)}",
                f"unlink {' '.join(f'tinyci:job:{job} tinyci:log:{job}' for job in part)}",
            ]
        )


def many(count: int, now: float, seed: int = 1) -> Iterator[tuple[str, dict[str, str], float]]:
    """Ended jobs of some repos with the fields that the daemon writes, one every few minutes, the newest at `now`."""
    chance = random.Random(seed)
    # More than the daemon keeps of each it would soon remove.
    repos = max(40, count // 90)
    for number in range(count):
        created = now - number * 397.0
        waited, built = chance.uniform(0.01, 3), chance.lognormvariate(3, 1)
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
                "created": stamp(created),
                "state": state,
                "success": "true" if state == "succeeded" else "false",
                "started": stamp(created + waited),
                "build_started": stamp(created + waited),
                "build_duration": f"{built:.3f}",
                "restart_started": stamp(created + waited + built),
                "restart_duration": "1.204",
                "verify_duration": "5.318",
                "finished": stamp(created + waited + built + 6.6),
                "attempt": "1",
                "exit_status": "0" if state != "failed" else "2",
                "reason": "" if state == "succeeded" else "ci-build.sh exited with status 2",
                "unit": f"tinyci-build@{chance.getrandbits(128):032x}.service",
                "user": f"app-{number % repos:02}",
                "image": f"sha256:{chance.getrandbits(256):064x}",
                "running_image": f"sha256:{chance.getrandbits(256):064x}",
                "output": output,
            },
            created,
        )


def fill(server: TestHost, count: int, now: float) -> list[str]:
    """So many kept jobs; their ids, the newest first."""
    jobs, pipe = [], []
    for job, fields, created in many(count, now):
        jobs.append(job)
        pipe += commands(job, fields, (), created)
    said = server.redis_all(pipe)
    assert not any("ERR" in line or "NOPERM" in line for line in said), said[:3]
    return jobs
