"""Jobs are kept by count and by age, whole, and then nothing of them is."""

import time
from collections.abc import Callable

from testhost import TestHost, Work

Clone = Callable[[str], Work]


def test_of_each_repo_the_newest_jobs_are_kept_whole(box: TestHost, work: Clone) -> None:
    jobs = {}
    for repo in ("probe", "probe-other"):
        work(repo).script("echo of $TINYCI_JOB")
        revision = work(repo).git("rev-parse", "HEAD")
        jobs[repo] = [box.push(work(repo)).job]
        for _ in range(4):
            box.wait(jobs[repo][-1])
            job_id = box.sh("cat /proc/sys/kernel/random/uuid").strip()
            jobs[repo].append(job_id)
            box.redis_all(
                [
                    f"hset tinyci:job:{job_id} repo {repo} ref refs/heads/master revision {revision}",
                    f"lpush tinyci:queue {job_id}",
                ]
            )
    every = [job_id for ids in jobs.values() for job_id in ids]
    whole = dict(zip(every, box.settled(every), strict=True))
    with box.config_file('[keep]\njobs = 3\nage = "2h"\n'):
        kept = [job_id for ids in jobs.values() for job_id in ids[-3:]]
        gone(box, [job_id for job_id in every if job_id not in kept])
        left = box.keys("tinyci:job:*")
        for repo, ids in jobs.items():
            of_repo = [job_id for job_id in left if box.job(job_id)["repo"] == repo]
            assert sorted(of_repo) == sorted(ids[-3:])
        for job_id in kept:
            assert box.job(job_id) == whole[job_id]
            assert box.log(job_id) == [f"of {job_id}"]
        # As if they had been made more than two hours ago.
        old = kept[:3]
        box.redis_all([f"zadd tinyci:jobs {time.time() - 7300} {job_id}" for job_id in old])
        box.sh("systemctl reload tinyci")
        gone(box, old)
        assert sorted(box.redis("zrange tinyci:jobs 0 -1")) == box.keys("tinyci:job:*")
        for job_id in kept[3:]:
            assert box.job(job_id) == whole[job_id]


def gone(box: TestHost, jobs: list[str]) -> None:
    """Wait until nothing of these jobs is in Redis."""
    keys = " ".join(f"tinyci:job:{job_id} tinyci:log:{job_id}" for job_id in jobs)
    end = time.monotonic() + 10
    while box.redis(f"exists {keys}") != ["0"]:
        assert time.monotonic() < end
    assert {*box.redis_all([f"zscore tinyci:jobs {job_id}" for job_id in jobs])} == {""}
