"""Reading the consumer group of events, through restarts of tinyci-notify and outages of Redis."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from tinyci import catalog
from tinyci.log import fields
from tinyci.runtime.backoff import Backoff
from tinyci.store.entryid import order
from tinyci.store.eventgroup import EventGroup, EventGroupError, StreamEntry

_BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""A server that comes back sends no event to those it has no connection with."""

log = logging.getLogger(__name__)


class Subscriber(Protocol):
    """The party that events are read for."""

    def on_redis(self, error: str) -> None:
        """Redis answers if `error` is empty."""

    def on_first_answer(self) -> None:
        """Redis has answered for the first time."""

    async def on_event(self, values: Mapping[str, str]) -> None:
        """Handle the fields of an entry. An EventGroupError has the entry given again."""

    def save(self) -> bool:
        """Save what came of the events so far. Return False if that failed."""


class GroupReader:
    """Gives each event to its subscriber once, in order.

    An event is acknowledged, so that Redis may forget it, only when the outcome is saved. After a restart Redis gives
    the others again; those up to `position` were handled.
    """

    def __init__(self, group: EventGroup, position: str, caught_up: asyncio.Event) -> None:
        """`caught_up` is set except while events of an outage, or from before a restart, are being read."""
        self.position = position
        """Id of the last event that was handled; empty before the first one."""
        self._group = group
        self._caught_up = caught_up
        self._unacknowledged: list[str] = []
        """Ids of events that were handled, and of which nothing is saved yet."""

    async def run(self, subscriber: Subscriber) -> None:
        """Read until cancelled."""
        backoff = Backoff(*_BACKOFF)
        is_first = True
        while True:
            try:
                lost_count = await self._group.join(self.position)
                self._caught_up.clear()
                subscriber.on_redis("")
                backoff.reset()
                if lost_count:
                    about = fields(message_id=catalog.EVENTS_LOST)
                    log.error("%d events are lost: Redis does not keep them any more", lost_count, extra=about)
                if is_first:
                    subscriber.on_first_answer()
                    is_first = False
                await self._catch_up(subscriber)
                self._caught_up.set()
                while True:
                    await self._handle(await self._group.read_new(), subscriber)
            except EventGroupError as error:
                self._caught_up.set()  # what waits is sent without what Redis has
                subscriber.on_redis(str(error))
                await backoff.wait()

    async def _catch_up(self, subscriber: Subscriber) -> None:
        after = "0"
        while entries := await self._group.read_pending(after):
            await self._handle(entries, subscriber)
            after = entries[-1][0]
        while entries := await self._group.read_new(wait=False):
            await self._handle(entries, subscriber)

    async def _handle(self, entries: Sequence[StreamEntry], subscriber: Subscriber) -> None:
        if not entries:
            return
        for event_id, values in entries:
            if order(event_id) <= order(self.position):
                continue  # saved already; the acknowledgement was lost
            try:
                await subscriber.on_event(values)
            except EventGroupError:
                raise
            except Exception:  # a defect of ours must not come back with the same event at each start
                log.exception("event %s: internal error", event_id, extra=fields(message_id=catalog.DEFECT))
            self.position = event_id
        self._unacknowledged += [event_id for event_id, _ in entries]
        if subscriber.save():
            await self._group.acknowledge(self._unacknowledged)
            self._unacknowledged = []
