"""Followers of jobs: one channel with one reader of Redis for each job that is followed, however many follow it.

The reader renders each line once, and its channel holds the last ones. A follower has a place in the output and nothing
else of its own: a slow one finds in Redis what it missed, and one that takes nothing for a while is cut off; its
browser comes back with the number of the last line that it has.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tinyci.store.viewer import StoreViewer, ViewerError
from tinyci.web.channel import Channel
from tinyci.web.channelreader import LOOK_INTERVAL, ChannelReader
from tinyci.web.events import event, lines_events

HEARTBEAT = 15.0
"""Seconds after which something is sent in any case, so that a proxy keeps the connection, and its end is noticed."""
PATIENCE = 30.0
"""Seconds that a follower may take nothing."""
MAX_COUNT = 1000
_MAX_CATCHING_UP = 4
"""Followers that read from Redis themselves at the same time."""

Send = Callable[[bytes], Awaitable[None]]


class TooManyFollowersError(Exception):
    """MAX_COUNT follow already."""


class Followers:
    """All followers, and the readers of what they follow."""

    def __init__(self, viewer: StoreViewer) -> None:
        self._viewer = viewer
        self._channels: dict[str, Channel] = {}
        """By job id; the list's has an empty one. Each has a follower, and a reader."""
        self._readers: dict[str, asyncio.Task[None]] = {}
        """By the same ids."""
        self._catching_up = asyncio.Semaphore(_MAX_CATCHING_UP)
        self._group: asyncio.TaskGroup | None = None
        """Of the readers, while run() runs."""
        self._is_closing = False
        self.count = 0

    @property
    def reader_count(self) -> int:
        """The number of readers of Redis."""
        return len(self._channels)

    @property
    def is_full(self) -> bool:
        return self.count >= MAX_COUNT

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the readers until `stop`, then end all streams."""
        async with asyncio.TaskGroup() as self._group:
            await stop.wait()
            self._is_closing = True
            for reader in self._readers.values():
                reader.cancel()
            for channel in self._channels.values():
                channel.publish()

    async def follow(self, job_id: str, after: int, send: Send) -> None:
        """Send the events of a job after that line of its output, or without an id those of the list.

        Returns when the job has ended, or the process stops. Raises TooManyFollowersError, TimeoutError for a follower
        that takes nothing, and what `send` raises.
        """
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
        self.count += 1
        try:
            yield channel
        finally:
            channel.followers -= 1
            self.count -= 1
            if not channel.followers and self._channels.get(job_id) is channel:
                del self._channels[job_id]
                self._readers.pop(job_id).cancel()

    async def _read(self, channel: Channel) -> None:
        await ChannelReader(self._viewer, channel).run()
        if self._channels.get(channel.job_id) is channel:  # the next follower gets a reader of its own
            del self._channels[channel.job_id]
            del self._readers[channel.job_id]

    async def _send_all(self, channel: Channel, after: int, send: Send) -> None:
        state: bytes | None = None
        trouble = ""
        while not self._is_closing:
            news = channel.news  # before the look, so that nothing falls between
            if trouble != channel.trouble:
                trouble = channel.trouble
                await _send(send, event("trouble", trouble))
            if channel.state is None:
                await _wait(news, send)
                continue
            if (part := channel.after(after)) is not None:
                text, after = part
                await _send(send, text)
            elif after < channel.last:
                after = await self._catch_up(channel, after, send)
            elif state is not channel.state:
                state = channel.state
                await _send(send, state)
            elif channel.is_over:
                await _send(send, event("end", ""))
                return
            else:
                await _wait(news, send)

    async def _catch_up(self, channel: Channel, after: int, send: Send) -> int:
        """Send some lines that the channel does not hold any more; return the number of the last one."""
        async with self._catching_up:
            try:
                lines = await self._viewer.lines_after(channel.job_id, after)
            except ViewerError:
                lines = []
            events = lines_events(lines)
        if not lines:
            # The log is forgotten, or Redis is away: the reader will tell.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await channel.news.wait()
            return after
        for each in events:
            await _send(send, each.text)
        return lines[-1][0]


async def _wait(news: asyncio.Event, send: Send) -> None:
    try:
        async with asyncio.timeout(HEARTBEAT):
            await news.wait()
    except TimeoutError:
        await _send(send, b": nothing new\n\n")


async def _send(send: Send, data: bytes) -> None:
    async with asyncio.timeout(PATIENCE):
        await send(data)
