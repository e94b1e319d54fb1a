"""The names of tinyci's keys in Redis."""

QUEUE = "tinyci:queue"
"""List of job ids; the hook adds at the left, the daemon takes from the right."""
ACCEPTED = "tinyci:accepted"
"""List of job ids that the daemon has and that nothing is left of yet, newest at the left."""
PAUSED = "tinyci:paused"
"""String, there while no job may begin: the time since when."""
JOBS = "tinyci:jobs"
"""Sorted set of the ids of all kept jobs, by seconds since the epoch."""
ANY_ID = "????????-????-????-????-????????????"
"""The pattern of an id, for keys of Redis: of no other length may the hook's account write them."""
EVENTS = "tinyci:events"
"""Stream of changes of jobs."""


def of_job(job_id: str) -> str:
    """The hash of a job."""
    return f"tinyci:job:{job_id}"


def of_new(job_id: str) -> str:
    """The hash of a job that the hook has added and the daemon has not taken yet. The hook's account may write these
    hashes and no others, so that it can change no job that there is."""
    return f"tinyci:new:{job_id}"


def of_log(job_id: str) -> str:
    """The stream of a job's output."""
    return f"tinyci:log:{job_id}"
