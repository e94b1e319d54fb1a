"""All kept jobs as rows, of which those that have ended are read from Redis once."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tinyci.store.viewer import IndexEntry, StoreViewer
from tinyci.web.jobview import FIELDS, JobView

_HEAD = 100
_WHOLE = 30.0
"""Seconds after which the whole index is read again, whatever its head says."""


@dataclass(frozen=True, slots=True)
class IndexedJob:
    """A job and where it stands in the index."""

    row: JobView
    time: float
    """As the index has it: seconds since the epoch."""
    id: str
    """As the index has it."""


class JobCache:
    """The rows, newest first. Raises ArchiveError."""

    def __init__(self, archive: StoreViewer, clock: Callable[[], float] = time.monotonic) -> None:
        self._archive = archive
        self._clock = clock
        self._lock = asyncio.Lock()
        self._index: list[IndexEntry] = []
        self._whole = -_WHOLE
        self._ended: dict[str, IndexedJob] = {}
        self._kept: list[IndexedJob] = []
        self._began = -1.0

    async def rows(self) -> list[IndexedJob]:
        """What is kept now. Not to be changed."""
        asked = self._clock()
        async with self._lock:  # all who wait for a look share the next one
            if self._began < asked:
                began = self._clock()
                self._kept = await self._look()
                self._began = began
            return self._kept

    async def ids(self) -> list[str]:
        """Ids of all kept jobs, newest first."""
        return [kept.id for kept in await self.rows()]

    async def _look(self) -> list[IndexedJob]:
        index = await self._indexed()
        missing = [entry.id for entry in index if entry.id not in self._ended]
        hashes = dict(zip(missing, await self._archive.hashes(missing, FIELDS), strict=True))
        kept = []
        for entry in index:
            one = self._ended.get(entry.id)
            if one is None:
                one = IndexedJob(JobView.of(entry.id, hashes[entry.id], entry.time), entry.time, entry.id)
                if one.row.is_final:  # nothing of it changes any more
                    self._ended[entry.id] = one
            kept.append(one)
        if len(self._ended) > len(kept):
            there = {entry.id for entry in index}
            self._ended = {job_id: one for job_id, one in self._ended.items() if job_id in there}
        return kept

    async def _indexed(self) -> list[IndexEntry]:
        """The index. It is long and changes at its head, so the rest is read only when the number says that it
        changed too."""
        now = self._clock()
        if now - self._whole < _WHOLE:
            head, card = await self._archive.newest(_HEAD)
            if len(head) == card:
                self._index = head
                return head
            known = {entry.id: place for place, entry in enumerate(self._index[: 2 * _HEAD])}
            last = known.get(head[-1].id) if head else None
            if last is not None and len(head) + len(self._index) - last - 1 == card:
                self._index = head + self._index[last + 1 :]
                return self._index
        self._index = await self._archive.index()
        self._whole = now
        return self._index
