"""Jobs are kept by count and by age, whole, and then nothing of them is."""

import time
from collections.abc import Callable

from testhost import TestHost, Work

Clone = Callable[[str], Work]


def test_of_each_repo_the_newest_jobs_are_kept_whole(server: TestHost, work: Clone) -> None:
    jobs = {}
    for repo in ("probe", "probe-other"):
        work(repo).script("echo of $TINYCI_JOB")
        revision = work(repo).git("rev-parse", "HEAD")
        jobs[repo] = [server.push(work(repo)).job]
        for _ in range(4):
            server.wait(jobs[repo][-1])
            job_id = server.sh("cat /proc/sys/kernel/random/uuid").strip()
            jobs[repo].append(job_id)
            server.redis_all(
                [
                    f"hset tinyci:job:{job_id} repo {repo} ref refs/heads/master revision {revision}",
                    f"lpush tinyci:queue {job_id}",
                ]
            )
    every = [job_id for ids in jobs.values() for job_id in ids]
    whole = dict(zip(every, server.wait_all(every), strict=True))
    with server.config_file('[keep]\njobs = 3\nage = "2h"\n'):
        newest = [job_id for ids in jobs.values() for job_id in ids[-3:]]
        gone(server, [job_id for job_id in every if job_id not in newest])
        keys = server.keys("tinyci:job:*")
        for repo, ids in jobs.items():
            of_repo = [job_id for job_id in keys if server.job(job_id)["repo"] == repo]
            assert sorted(of_repo) == sorted(ids[-3:])
        for job_id in newest:
            assert server.job(job_id) == whole[job_id]
            assert server.log(job_id) == [f"of {job_id}"]
        # As if they had been made more than two hours ago, before the host was booted.
        old = newest[:3]
        server.redis_all([f"zadd tinyci:jobs {time.time() - 7300} {job_id}" for job_id in old])
        server.redis_all([f"hset tinyci:job:{job_id} moment '{'0' * 32} 1.000000'" for job_id in old])
        server.sh("systemctl reload tinyci")
        gone(server, old)
        assert sorted(server.redis("zrange tinyci:jobs 0 -1")) == server.keys("tinyci:job:*")
        for job_id in newest[3:]:
            assert server.job(job_id) == whole[job_id]


def gone(server: TestHost, jobs: list[str]) -> None:
    """Wait until nothing of these jobs is in Redis."""
    keys = " ".join(f"tinyci:job:{job_id} tinyci:log:{job_id}" for job_id in jobs)
    end = time.monotonic() + 10
    while server.redis(f"exists {keys}") != ["0"]:
        assert time.monotonic() < end
    assert {*server.redis_all([f"zscore tinyci:jobs {job_id}" for job_id in jobs])} == {""}
