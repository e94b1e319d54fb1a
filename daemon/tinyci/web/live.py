"""Who follows jobs as they go: one reader of Redis for each job that is followed, however many follow it.

The reader renders each line once and keeps the last ones. A follower has a place in the output and nothing else of his
own: who is slow finds what he missed in Redis, and who takes nothing for a while is cut off; his browser comes back
with the number of the last line that it has.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tinyci.store.viewer import Line, StoreViewer, ViewerError
from tinyci.web import ansi, jobfacts
from tinyci.web.jobstages import stages
from tinyci.web.jobview import FIELD_NAMES, JobView
from tinyci.web.text import iso

log = logging.getLogger("tinyci.web")

HEARTBEAT = 15.0
"""Seconds after which something is said in any case, so that a proxy keeps the connection, and we see its end."""
PATIENCE = 30.0
"""Seconds that a follower may take nothing."""
FOLLOWERS = 1000
_LOOK = 2.0
"""Seconds after which one looks for what nothing tells of: a job that is only queued, a hash that another wrote."""
_CHUNK = 16 * 1024
"""Characters of an event, about: what a follower who takes nothing holds."""
_KEPT = 512 * 1024
"""Characters of events that are kept of a job for those who follow it."""
_CATCHING_UP = 4
"""Followers who read from Redis themselves, at a time."""
_SPREAD = 10
"""Milliseconds between two followers of a list who look again."""
_BACKOFF = (0.2, 0.5, 1.0, 2.0)

Send = Callable[[bytes], Awaitable[None]]


class TooManyFollowersError(Exception):
    """As many follow as may."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines as one event."""

    lines: tuple[tuple[int, str], ...]
    """Numbers, and what is told of each line as JSON."""
    event: bytes

    @property
    def last(self) -> int:
        return self.lines[-1][0]

    def after(self, number: int) -> bytes:
        """The event without the lines up to that number."""
        if self.lines[0][0] > number:
            return self.event
        return _event_of(tuple(line for line in self.lines if line[0] > number))


def chunks(lines: Sequence[Line]) -> list[Chunk]:
    """Lines as events of a moderate size."""
    made: list[Chunk] = []
    part: list[tuple[int, str]] = []
    size = 0
    for number, line in lines:
        told = json.dumps([number, ansi.spans(line)], separators=(",", ":"))
        if part and size + len(told) > _CHUNK:
            made.append(Chunk(tuple(part), _event_of(tuple(part))))
            part, size = [], 0
        part.append((number, told))
        size += len(told)
    if part:
        made.append(Chunk(tuple(part), _event_of(tuple(part))))
    return made


def _event_of(lines: tuple[tuple[int, str], ...]) -> bytes:
    data = ",".join(told for _, told in lines)
    return f"id: {lines[-1][0]}\nevent: lines\ndata: [{data}]\n\n".encode()


def event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def state_event(job: JobView) -> bytes:
    """An event for the page that shows the job: all of it that may have changed."""
    return event(
        "state",
        {
            "state": job.state,
            "kind": job.kind,
            "sign": job.sign,
            "final": job.is_final,
            "reason": job.reason,
            "title": job.title,
            "facts": jobfacts.facts(job),
            "times": jobfacts.times(job),
            "stages": [stage._asdict() for stage in stages(job)],
            "started": iso(job.started),
        },
    )


@dataclass
class Channel:
    """What the followers of one job, or of the list, have in common."""

    job_id: str
    followers: int = 0
    base: int = 0
    """The number of the last line that is not kept here."""
    kept: deque[Chunk] = field(default_factory=deque)
    size: int = 0
    told: bytes | None = None
    """The newest event about the job, or the list."""
    is_over: bool = False
    trouble: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self) -> None:
        """Wake all who follow."""
        self.news.set()
        self.news = asyncio.Event()

    def add(self, lines: Sequence[Line]) -> None:
        for chunk in chunks(lines):
            self.kept.append(chunk)
            self.size += len(chunk.event)
        while self.size > _KEPT and len(self.kept) > 1:
            gone = self.kept.popleft()
            self.size -= len(gone.event)
            self.base = gone.last

    @property
    def last(self) -> int:
        return self.kept[-1].last if self.kept else self.base

    def after(self, number: int) -> tuple[bytes, int] | None:
        """The next event after that line, and its last line; None when there is none here."""
        for chunk in self.kept if number >= self.base else ():
            if chunk.last > number:
                return chunk.after(number), chunk.last
        return None


class Live:
    """All who follow. `run` has their readers."""

    def __init__(self, archive: StoreViewer) -> None:
        self._archive = archive
        self._channels: dict[str, Channel] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._catching_up = asyncio.Semaphore(_CATCHING_UP)
        self._group: asyncio.TaskGroup | None = None
        self._is_closing = False
        self.followers = 0

    @property
    def followed(self) -> int:
        """How many readers of Redis there are."""
        return len(self._channels)

    @property
    def is_full(self) -> bool:
        """Whether as many follow as may."""
        return self.followers >= FOLLOWERS

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then all streams end."""
        async with asyncio.TaskGroup() as self._group:
            await stop.wait()
            self._is_closing = True
            for reader in self._readers.values():
                reader.cancel()
            for channel in self._channels.values():
                channel.publish()

    async def follow(self, job_id: str, after: int, send: Send) -> None:
        """Send the events of a job after that line of its output until it has ended, or without an id those of the
        list. Returns when the follower is to be let go; raises TooMany, and what `send` raises."""
        if self.is_full:
            raise TooManyFollowersError
        async with self._channel(job_id) as channel:
            await self._send_all(channel, after, send)

    @asynccontextmanager
    async def _channel(self, job_id: str) -> AsyncIterator[Channel]:
        channel = self._channels.get(job_id)
        if channel is None:
            assert self._group, "run() runs"
            channel = self._channels[job_id] = Channel(job_id)
            self._readers[job_id] = self._group.create_task(self._read(channel))
        channel.followers += 1
        self.followers += 1
        try:
            yield channel
        finally:
            channel.followers -= 1
            self.followers -= 1
            if not channel.followers and self._channels.get(job_id) is channel:
                del self._channels[job_id]
                self._readers.pop(job_id).cancel()

    async def _send_all(self, channel: Channel, after: int, send: Send) -> None:
        told: bytes | None = None
        trouble = ""
        while not self._is_closing:
            news = channel.news  # before the look, so that nothing falls between
            if trouble != channel.trouble:
                trouble = channel.trouble
                await self._send(send, event("trouble", trouble))
            if channel.told is None:  # nothing was read yet
                await self._wait(news, send)
                continue
            if (found := channel.after(after)) is not None:
                await self._send(send, found[0])
                after = found[1]
            elif after < channel.last:
                after = await self._catch_up(channel, after, send)
            elif told is not channel.told:
                told = channel.told
                await self._send(send, told)
            elif channel.is_over:
                await self._send(send, event("end", ""))
                return
            else:
                await self._wait(news, send)

    async def _catch_up(self, channel: Channel, after: int, send: Send) -> int:
        """What is not kept here any more."""
        async with self._catching_up:
            try:
                lines = await self._archive.lines_after(channel.job_id, after)
            except ViewerError:
                lines = []
            made = chunks(lines)
        if not lines:
            # It was forgotten, or Redis is away: the reader will tell.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await channel.news.wait()
            return after
        for chunk in made:
            await self._send(send, chunk.event)
        return lines[-1][0]

    async def _wait(self, news: asyncio.Event, send: Send) -> None:
        try:
            async with asyncio.timeout(HEARTBEAT):
                await news.wait()
        except TimeoutError:
            await self._send(send, b": nothing new\n\n")

    async def _send(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await send(data)

    # -- the reader --------------------------------------------------------------------------------------------

    async def _read(self, channel: Channel) -> None:
        tries = 0
        while channel.followers and not self._is_closing and not channel.is_over:
            try:
                await (self._read_job(channel) if channel.job_id else self._read_list(channel))
            except Exception as error:  # a defect of ours must not end what others see
                if isinstance(error, ViewerError):
                    channel.trouble = f"{error}; this goes on when it is back"
                else:
                    log.exception("following %s: internal error", channel.job_id or "the list")
                    channel.trouble = "This is a defect of tinyci: 'journalctl -u tinyci-web' says more"
                channel.publish()
                # A server that comes back sends no event to those it has no connection with.
                await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
                tries += 1
            else:
                tries = 0
        if self._channels.get(channel.job_id) is channel:  # who comes now gets a reader of his own
            del self._channels[channel.job_id]
            del self._readers[channel.job_id]

    async def _read_job(self, channel: Channel) -> None:
        loop = asyncio.get_running_loop()
        watched = await self._archive.last_event()
        if channel.told is None:
            channel.base = await self._archive.last_line_number(channel.job_id)
        watch = self._archive.watch(watched, channel.job_id, channel.last)
        try:
            looked = -_LOOK
            while channel.followers and not channel.is_over:
                if loop.time() - looked >= _LOOK:
                    await self._look_at(channel)
                    looked = loop.time()
                    if channel.is_over:
                        break
                news = await watch.next(_LOOK)
                if news.lines:
                    channel.add(news.lines)
                    channel.publish()
                if any(said.get("job") == channel.job_id for _, said in news.events):
                    looked = -_LOOK
        finally:
            await watch.close()

    async def _look_at(self, channel: Channel) -> None:
        """Read the hash, and when it says that the job has ended, the rest of its output before that is told."""
        fields = await self._archive.job(channel.job_id, FIELD_NAMES)
        job = JobView(channel.job_id, fields)
        told = state_event(job)
        is_over = job.is_final or not fields
        while is_over and (lines := await self._archive.lines_after(channel.job_id, channel.last)):
            channel.add(lines)
        if told != channel.told or is_over or channel.trouble:
            channel.told, channel.trouble, channel.is_over = told, "", is_over
            channel.publish()

    async def _read_list(self, channel: Channel) -> None:
        watch = self._archive.watch(await self._archive.last_event())
        seen: object = None
        try:
            while channel.followers:
                looked = await self._archive.newest(100)
                news = await watch.next(_LOOK) if looked == seen else None
                if looked != seen or (news and news.events) or channel.trouble:
                    # All who follow look again, and not all at once.
                    within = channel.followers * _SPREAD
                    channel.told = event("changed", {"total": looked[1], "within": within})
                    channel.trouble = ""
                    channel.publish()
                seen = looked
        finally:
            await watch.close()
