"""The choice of kept jobs that are to be forgotten."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tinyci.model.moment import Now
from tinyci.model.state import FINAL, State


class KeptJob(NamedTuple):
    """A kept job, of the index and its hash; empty strings for fields that the hash lacks."""

    id: str
    repo: str
    ref: str
    state: str
    created: str
    moment: str
    image: str
    time: float
    """Seconds since the epoch, of the index."""
    rollback_to: str = ""
    retry_of: str = ""

    @property
    def deploys_tip(self) -> bool:
        """See Job.deploys_tip."""
        return not (self.rollback_to or self.retry_of)


def in_push_order(jobs: Iterable[KeptJob], now: Now) -> list[KeptJob]:
    """Return jobs oldest first, also those that were pushed while the clock of the host was wrong."""
    return sorted(jobs, key=lambda job: (-now.age(job.time, job.moment), job.time))


def is_lost(job: KeptJob) -> bool:
    """True if the job has not ended although it is in no list: given that it is not live. One without a repo is no more
    than an entry of the index."""
    return bool(job.repo) and job.state not in FINAL


def expired_ids(
    jobs: Sequence[KeptJob],
    max_count: int,
    max_age: float,
    now: Now,
    live_ids: Collection[str] = (),
    keep_successes: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """Ids of ended jobs that are older than `max_age` seconds, or not among the `max_count` newest ones of their repo.

    `live_ids` are those that wait or run. A job that has not begun and is not among them is one
    whose hash is gone, or that nothing leads to: it stays until its age. `keep_successes`: by repo, the number of
    newest successes that never expire: their images are kept, and people roll back to them by these jobs.
    """
    ids = []
    newer_count: Counter[str] = Counter()
    success_images: dict[str, set[str]] = {}
    for job in reversed(in_push_order(jobs, now)):
        is_final = job.state in FINAL
        newer_count[job.repo] += is_final
        if job.state == State.SUCCEEDED and job.image and job.repo in keep_successes:
            images = success_images.setdefault(job.repo, set())
            is_new = job.image not in images
            images.add(job.image)
            if is_new and len(images) <= keep_successes[job.repo]:
                continue
        if job.id in live_ids:
            continue
        if (is_final and newer_count[job.repo] > max_count) or (
            (is_final or job.state in ("", State.QUEUED)) and now.age(job.time, job.moment) > max_age
        ):
            ids.append(job.id)
    return ids
