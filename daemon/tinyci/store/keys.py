"""What tinyci's keys in Redis are called, for store.py, archive.py and notify/stream.py."""

QUEUE = "tinyci:queue"
ACCEPTED = "tinyci:accepted"
PAUSED = "tinyci:paused"
JOBS = "tinyci:jobs"
EVENTS = "tinyci:events"


def of_job(job_id: str) -> str:
    """The hash of a job."""
    return f"tinyci:job:{job_id}"


def of_log(job_id: str) -> str:
    """The stream of a job's output."""
    return f"tinyci:log:{job_id}"
