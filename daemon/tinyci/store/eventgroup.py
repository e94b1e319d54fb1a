"""The consumer group of `tinyci:events`: it misses nothing while nobody reads, and gives nothing twice.

Commands of Redis 7.0 only, and of those that users-tinyci.acl lets the user `notify` use.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from tinyci.store.command import detached
from tinyci.store.connection import client
from tinyci.store.keys import EVENTS, of_job

GROUP = CONSUMER = "notify"
_BLOCK = 60.0
"""Seconds that a blocking read asks for, so that a dead peer is noticed."""
_TIMEOUT = 10.0
_BATCH = 100
_DETAILS = ("started", "finished", "output")

StreamEntry = tuple[str, Mapping[str, str]]


class EventGroupError(Exception):
    """Redis does not answer, or with an error; one sentence."""


class EventGroup:
    """Two connections at most; after an EventGroupError the next call makes another."""

    def __init__(self, socket: str, password: str) -> None:
        self._redis = client(socket, "notify", password, _TIMEOUT)
        self._waiter = client(socket, "notify", password, _BLOCK + _TIMEOUT)

    async def close(self) -> None:
        for each in (self._redis, self._waiter):
            await each.connection_pool.disconnect()

    async def join(self, position: str) -> int:
        """Join the group. Returns the number of events that are lost, because the stream, which has a limit, was cut
        past what we have read.

        `position`: id of the last event that was read, for a Redis that does not know the group; empty for now.
        """
        try:
            await self._execute("XGROUP", "CREATE", EVENTS, GROUP, position or "$", "MKSTREAM")
        except EventGroupError as error:
            if "BUSYGROUP" not in str(error):
                raise
        return await self._count_lost()

    async def read_pending(self, after: str) -> list[StreamEntry]:
        """Return events after that id that were given to us and not acknowledged."""
        return await self._read(after)

    async def read_new(self, *, wait: bool = True) -> list[StreamEntry]:
        """Return the next events; none when there are none, or with `wait` when none came for a minute."""
        block = ("BLOCK", str(int(_BLOCK * 1000))) if wait else ()
        return await self._read(">", *block)

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        """Have these events not given to us again."""
        await self._execute("XACK", EVENTS, GROUP, *event_ids)

    async def details(self, job_id: str) -> dict[str, str]:
        """The fields of a job's hash that messages use and its events lack; empty when there are none."""
        try:
            values = await self._execute("HMGET", of_job(job_id), *_DETAILS)
        except EventGroupError as error:
            if "WRONGTYPE" in str(error):
                return {}
            raise
        return {name: value for name, value in zip(_DETAILS, values, strict=True) if value}

    async def _read(self, after: str, *block: str) -> list[StreamEntry]:
        words = ("GROUP", GROUP, CONSUMER, "COUNT", str(_BATCH), *block, "STREAMS", EVENTS, after)
        reply = await self._execute("XREADGROUP", *words, redis=self._waiter if block else self._redis)
        entries = reply[0][1] if reply else []
        # An entry that was cut off the stream after it was given to us has no fields any more.
        return [(number, values or {}) for number, values in entries]

    async def _count_lost(self) -> int:
        stream = _mapping(await self._execute("XINFO", "STREAM", EVENTS))
        groups = [_mapping(reply) for reply in await self._execute("XINFO", "GROUPS", EVENTS)]
        (group,) = (group for group in groups if group.get("name") == GROUP)
        read_count, cut_count = group.get("entries-read"), int(stream["entries-added"]) - int(stream["length"])
        if read_count is None or int(read_count) >= cut_count:  # None: the group was made at an entry in the middle
            return 0
        # Else Redis would count from the last one that was read, as if these had never been there.
        await self._execute("XGROUP", "SETID", EVENTS, GROUP, group["last-delivered-id"], "ENTRIESREAD", str(cut_count))
        return cut_count - int(read_count)

    async def _execute(self, *command: str, redis: "Redis | None" = None) -> Any:
        try:
            return await detached((redis or self._redis).execute_command(*command))
        except ResponseError as error:
            raise EventGroupError(str(error)) from None
        except (RedisError, OSError, TimeoutError) as error:
            raise EventGroupError(str(error) or type(error).__name__) from None


def _mapping(reply: Any) -> dict[str, Any]:
    """Names with their values; the library, by its version, gives a flat list or a dictionary."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))
