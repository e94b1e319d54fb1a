"""The reader of a channel: reads Redis for it, whatever becomes of Redis."""

import asyncio
import logging

from tinyci.runtime.backoff import Backoff
from tinyci.store.viewer import StoreViewer, StreamWatch, ViewerError
from tinyci.web.channel import Channel
from tinyci.web.events import event, state_event
from tinyci.web.jobview import FIELD_NAMES, JobView

log = logging.getLogger("tinyci.web")

LOOK_INTERVAL = 2.0
"""Seconds between looks for changes without an event: a job that is only queued, a hash that another program wrote."""
_SPREAD = 10
"""Milliseconds between two followers of the list who look again."""


class ChannelReader:
    """Reads for one channel."""

    def __init__(self, viewer: StoreViewer, channel: Channel) -> None:
        self._viewer = viewer
        self._channel = channel

    async def run(self) -> None:
        """Read until nobody follows, or the job has ended. Survives outages of Redis and defects of ours."""
        channel = self._channel
        # A server that comes back sends no event to clients that have no connection with it.
        backoff = Backoff(0.2, 0.5, 1.0, 2.0)
        while channel.followers and not channel.is_over:
            try:
                await (self._read_job() if channel.job_id else self._read_list())
            except Exception as error:
                if isinstance(error, ViewerError):
                    channel.trouble = f"{error}; this goes on when it is back"
                else:
                    log.exception("following %s: internal error", channel.job_id or "the list")
                    channel.trouble = "This is a defect of tinyci: 'journalctl -u tinyci-web' says more"
                channel.publish()
                await backoff.wait()
            else:
                backoff.reset()

    async def _read_job(self) -> None:
        channel = self._channel
        last_event = await self._viewer.last_event()
        if channel.state is None:
            channel.base = await self._viewer.last_line_number(channel.job_id)
        watch = self._viewer.watch(last_event, channel.job_id, channel.last)
        try:
            await self._follow_job(watch)
        finally:
            await watch.close()

    async def _follow_job(self, watch: StreamWatch) -> None:
        channel, loop = self._channel, asyncio.get_running_loop()
        look_time = -LOOK_INTERVAL
        while channel.followers and not channel.is_over:
            if loop.time() - look_time >= LOOK_INTERVAL:
                await self._look_at_job()
                look_time = loop.time()
                if channel.is_over:
                    break
            news = await watch.next(LOOK_INTERVAL)
            if news.lines:
                channel.add(news.lines)
                channel.publish()
            if any(fields.get("job") == channel.job_id for _, fields in news.events):
                look_time = -LOOK_INTERVAL

    async def _look_at_job(self) -> None:
        """Read the hash; when the job has ended, read the rest of its output before the end is published."""
        channel = self._channel
        fields = await self._viewer.job(channel.job_id, FIELD_NAMES)
        job = JobView(channel.job_id, fields)
        state = state_event(job)
        is_over = job.is_final or not fields
        while is_over and (lines := await self._viewer.lines_after(channel.job_id, channel.last)):
            channel.add(lines)
        if state != channel.state or is_over or channel.trouble:
            channel.state, channel.trouble, channel.is_over = state, "", is_over
            channel.publish()

    async def _read_list(self) -> None:
        channel = self._channel
        watch = self._viewer.watch(await self._viewer.last_event())
        before: object = None
        try:
            while channel.followers:
                newest = await self._viewer.newest(100)
                news = await watch.next(LOOK_INTERVAL) if newest == before else None
                if newest != before or (news and news.events) or channel.trouble:
                    # All followers look again, but not all at once.
                    within = channel.followers * _SPREAD
                    channel.state = event("changed", {"total": newest[1], "within": within})
                    channel.trouble = ""
                    channel.publish()
                before = newest
        finally:
            await watch.close()
