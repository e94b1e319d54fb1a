"""The queue of jobs that have not begun, in push order. Each of its methods costs the same however long it is."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from tinyci.model.job import Job
from tinyci.model.moment import Now, is_older


class _Entry(NamedTuple):
    """A job in its place."""

    number: int
    """Number of the place, among all repos."""
    job: Job


class Queue:
    """Jobs, each once."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        """By job id; those in a line that are not here have been removed."""
        self._lines: dict[str, deque[_Entry]] = {}
        """By repo: its jobs, oldest first."""
        self._newest: dict[tuple[str, str], Job] = {}
        """By repo and ref: the newest job that deploys the ref's tip."""
        self._older: dict[str, Job] = {}
        """By id: jobs that were the newest of their ref before another one came."""
        self._next_number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Job]:
        """Iterate over all jobs, in push order."""
        entries = (entry for line in self._lines.values() for entry in line if self._is_there(entry))
        return (entry.job for entry in sorted(entries, key=lambda entry: entry.number))

    def get(self, job_id: str) -> Job | None:
        entry = self._entries.get(job_id)
        return entry.job if entry else None

    def add(self, job: Job) -> None:
        """Put a job behind all others."""
        self._insert(job, len(self._lines.get(job.repo, ())))

    def add_spooled(self, job: Job, now: Now) -> None:
        """Put a job from the spool where its time belongs among the jobs of its repo, which overtook it. Only spooled
        jobs are placed by their time: the others come in push order."""
        line = self._lines.get(job.repo, deque())
        # Behind the last older one: the times need not be in order.
        place = len(line)
        while place and (not self._is_there(line[place - 1]) or is_older(job, line[place - 1].job, now)):
            place -= 1
        if not any(self._is_there(entry) for entry in list(line)[place:]):
            place = len(line)
        self._insert(job, place)

    def remove(self, job: Job) -> None:
        """Take a job out. Raises KeyError if it is not there."""
        del self._entries[job.id]
        self._older.pop(job.id, None)
        line = self._lines[job.repo]
        while line and not self._is_there(line[0]):
            line.popleft()
        if not line:
            del self._lines[job.repo]
        ref = (job.repo, job.ref)
        if self._newest.get(ref) is job:
            del self._newest[ref]
            if any((older.repo, older.ref) == ref for older in self._older.values()):
                self._find_newest(ref)

    def heads(self) -> list[Job]:
        """The first job of each repo, in push order."""
        return [entry.job for entry in sorted((line[0] for line in self._lines.values()), key=lambda each: each.number)]

    def superseded_jobs(self) -> list[tuple[Job, Job]]:
        """Jobs that a newer one of the same repo and ref makes needless, each with the newest one.

        Retries and rollbacks neither are superseded nor supersede: they are of another revision than the newest.
        """
        return [(job, self._newest[job.repo, job.ref]) for job in self._older.values()]

    def _is_there(self, entry: _Entry) -> bool:
        return self._entries.get(entry.job.id) is entry

    def _insert(self, job: Job, place: int) -> None:
        line = self._lines.setdefault(job.repo, deque())
        is_last = place == len(line)
        entry = _Entry(self._next_number if is_last else line[place].number, job)
        self._next_number += 1
        line.insert(place, entry)
        self._entries[job.id] = entry
        if not job.deploys_tip:
            return
        ref = (job.repo, job.ref)
        if is_last or ref not in self._newest:
            if older := self._newest.get(ref):
                self._older[older.id] = older
            self._newest[ref] = job
        else:
            self._find_newest(ref)

    def _find_newest(self, ref: tuple[str, str]) -> None:
        """Look through the line of a repo: something came between, or the newest was taken out."""
        line = self._lines.get(ref[0], ())
        jobs = [entry.job for entry in line if self._is_there(entry) and entry.job.ref == ref[1]]
        if pushes := [job for job in jobs if job.deploys_tip]:
            *older, self._newest[ref] = pushes
            self._older |= {job.id: job for job in older}
            self._older.pop(pushes[-1].id, None)
