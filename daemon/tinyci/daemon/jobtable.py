"""The table of the daemon's jobs in memory: each in one place at a time."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from tinyci.daemon.deploy import Deploy
from tinyci.model.job import Job
from tinyci.model.moment import Now, Push, is_older
from tinyci.model.queue import Queue


class Leftover(NamedTuple):
    """An ended job that may have left something in systemd."""

    job: Job
    user: str
    """The user whose manager may have it."""


class JobTable:
    """Accepted jobs. Every id here is in `tinyci:accepted`, or is being put there or taken out."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.deploys: dict[str, Deploy] = {}
        """By job id; at most one of a repo."""
        self.leftovers: dict[str, Leftover] = {}
        """By job id; ended in Redis, not yet cleared away."""
        self.accepting: set[str] = set()
        """Ids whose state is not in Redis yet, so that a sweep would find them too."""
        self.ending: set[str] = set()
        """Ids that end without a deploy; not all of the end is in Redis yet."""
        self.has_leftovers = asyncio.Event()
        """Set when one is added."""
        self.needs_schedule = asyncio.Event()
        """Set when a job was queued, or may begin that could not before."""
        self._newest_begin: dict[tuple[str, str], Push] = {}
        """By repo and ref: the newest push that has begun."""

    def has(self, job_id: str) -> bool:
        places = (self.deploys, self.leftovers, self.ending, self.accepting)
        return self.queue.get(job_id) is not None or any(job_id in ids for ids in places)

    def dequeue_to_end(self, job: Job) -> None:
        """Take a job out of the queue that ends without a deploy: Closing.end() is the next that happens to it."""
        self.queue.remove(job)
        self.ending.add(job.id)

    def add_leftover(self, job: Job, user: str) -> None:
        """Add an ended job that is to be cleared away when its manager is there."""
        self.leftovers[job.id] = Leftover(job, user)
        self.has_leftovers.set()

    def leftovers_of(self, repo: str, user: str) -> list[Job]:
        return [
            leftover.job for leftover in self.leftovers.values() if (leftover.job.repo, leftover.user) == (repo, user)
        ]

    def note_begin(self, repo: str, ref: str, push: Push, now: Now) -> None:
        """Remember that a push has begun, so that no older one from the spool begins after it."""
        newest = self._newest_begin.get((repo, ref))
        if newest is None or not is_older(push, newest, now):
            self._newest_begin[repo, ref] = push

    def is_outdated(self, job: Job, now: Now) -> bool:
        """True if a newer push of its ref has begun."""
        newest = self._newest_begin.get((job.repo, job.ref))
        return newest is not None and is_older(job, newest, now)

    def keep_refs(self, refs: Iterable[tuple[str, str]]) -> None:
        """Forget the begins of all refs but these and those that deploy."""
        live_refs = {*refs, *((deploy.job.repo, deploy.job.ref) for deploy in self.deploys.values())}
        self._newest_begin = {ref: push for ref, push in self._newest_begin.items() if ref in live_refs}
