"""The jobs that the daemon has, in memory: each in one place at a time."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from tinyci.daemon.deploy import Deploy
from tinyci.model.job import Job


class Leftover(NamedTuple):
    """An ended job that may have left something in systemd."""

    job: Job
    user: str
    """The user whose manager may have it."""


class JobTable:
    """Accepted jobs. Every id here is in `tinyci:accepted`, or is being put there or taken out."""

    def __init__(self) -> None:
        self.queued: list[Job] = []
        """In push order, none begun. Changed by queue(), queue_late() and unqueue() alone."""
        self._queued_ids: set[str] = set()
        """Of exactly the jobs in `queued`: a sweep asks for each of them."""
        self.running: dict[str, Deploy] = {}
        """At most one of a repo."""
        self.leftovers: dict[str, Leftover] = {}
        """Ended in Redis, not yet cleared away."""
        self.accepting: set[str] = set()
        """Redis does not know yet that they are queued, so a sweep would find them too."""
        self.ending: set[str] = set()
        """End without a deploy; Redis does not know all of it yet."""
        self.has_leftovers = asyncio.Event()
        """Set when one is added."""
        self._newest: dict[tuple[str, str], str] = {}
        """By repo and ref, when the newest push that has begun was made."""

    def knows(self, job_id: str) -> bool:
        return any(
            job_id in ids for ids in (self._queued_ids, self.running, self.leftovers, self.ending, self.accepting)
        )

    def queue(self, job: Job) -> None:
        """Put a job behind all others."""
        self.queued.append(job)
        self._queued_ids.add(job.id)

    def queue_late(self, job: Job) -> None:
        """Put a job out of the spool where its time belongs among those of its repo that went past it. Only spooled
        jobs are placed by their time: the others come in push order, whatever the clock does."""
        of_repo = [place for place, each in enumerate(self.queued) if each.repo == job.repo]
        # Behind the last older one, and not before the first newer one: the times need not be in order.
        after = max((place for place in of_repo if self.queued[place].created <= job.created), default=-1)
        newer = (place for place in of_repo if place > after)
        self.queued.insert(next(newer, len(self.queued)), job)
        self._queued_ids.add(job.id)

    def unqueue(self, job: Job) -> None:
        self.queued.remove(job)
        self._queued_ids.discard(job.id)

    def leave(self, job: Job, user: str) -> None:
        """Have an ended job cleared away when its manager is there for it."""
        self.leftovers[job.id] = Leftover(job, user)
        self.has_leftovers.set()

    def leftovers_of(self, repo: str, user: str) -> list[Job]:
        return [left.job for left in self.leftovers.values() if (left.job.repo, left.user) == (repo, user)]

    def note_begin(self, repo: str, ref: str, created: str) -> None:
        """Remember that a push has begun, so that no older one out of the spool begins after it."""
        self._newest[repo, ref] = max(created, self._newest.get((repo, ref), ""))

    def is_outdated(self, job: Job) -> bool:
        """Whether a newer push of its ref has begun."""
        return job.created < self._newest.get((job.repo, job.ref), "")

    def forget_refs_but(self, refs: Iterable[tuple[str, str]]) -> None:
        """Forget the begins of refs that no kept job is of."""
        kept = {*refs, *((deploy.job.repo, deploy.job.ref) for deploy in self.running.values())}
        self._newest = {ref: created for ref, created in self._newest.items() if ref in kept}
