"""`tinyci:events`, as the group `notify` consumes it: nothing is missed while nobody reads, and nothing comes twice.

Commands of Redis 7.0 only, and of those that users-tinyci.acl lets the user `notify` use.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from tinyci.store.connection import client
from tinyci.store.keys import EVENTS, of_job

GROUP = CONSUMER = "notify"
_BLOCK = 5.0
"""Seconds that a blocking read asks for, so that a dead peer is noticed."""
_TIMEOUT = 10.0
_BATCH = 100
_DETAILS = ("started", "finished", "output")

StreamEntry = tuple[str, Mapping[str, str]]


class EventGroupError(Exception):
    """Redis does not answer, or not as it should; one sentence."""


class EventGroup:
    """One connection at a time; after a StreamError the next call makes another."""

    def __init__(self, socket: str, password: str) -> None:
        self._redis = client(socket, "notify", password, _BLOCK + _TIMEOUT)

    async def close(self) -> None:
        await self._redis.connection_pool.disconnect()

    async def open(self, position: str) -> int:
        """Be in the group from now on. Returns how many events nobody can read any more, because the stream, which has
        a limit, was cut past what we have read.

        `position`: of the last event that was read, for a Redis that does not know the group (any more); empty means
        from now on.
        """
        try:
            await self._do("XGROUP", "CREATE", EVENTS, GROUP, position or "$", "MKSTREAM")
        except EventGroupError as error:
            if "BUSYGROUP" not in str(error):
                raise
        return await self._lost()

    async def pending(self, after: str) -> list[StreamEntry]:
        """What was given to us and is not done yet, after that id."""
        return await self._read(after)

    async def more(self, wait: bool = True) -> list[StreamEntry]:
        """What comes next; empty when there is nothing, or with `wait` when nothing came for some seconds."""
        return await self._read(">", *(("BLOCK", str(int(_BLOCK * 1000))) if wait else ()))

    async def done(self, entries: Sequence[str]) -> None:
        """Those need not be given to us again."""
        await self._do("XACK", EVENTS, GROUP, *entries)

    async def details(self, job: str) -> dict[str, str]:
        """What the hash of a job has of what messages tell; empty where there is nothing."""
        try:
            values = await self._do("HMGET", of_job(job), *_DETAILS)
        except EventGroupError as error:
            if "WRONGTYPE" in str(error):
                return {}
            raise
        return {name: value for name, value in zip(_DETAILS, values, strict=True) if value}

    async def _read(self, after: str, *block: str) -> list[StreamEntry]:
        words = ("GROUP", GROUP, CONSUMER, "COUNT", str(_BATCH), *block, "STREAMS", EVENTS, after)
        found = await self._do("XREADGROUP", *words)
        entries = found[0][1] if found else []
        # What was cut off the stream after it was given to us has no fields any more.
        return [(number, values or {}) for number, values in entries]

    async def _lost(self) -> int:
        stream = await self._info("STREAM", EVENTS)
        groups = [_paired(each) for each in await self._do("XINFO", "GROUPS", EVENTS)]
        (group,) = (each for each in groups if each.get("name") == GROUP)
        read, gone = group.get("entries-read"), int(stream["entries-added"]) - int(stream["length"])
        if read is None or int(read) >= gone:  # None: the group was made at an entry in the middle
            return 0
        # Else Redis would count from the last one that was read, as if these had never been there.
        await self._do("XGROUP", "SETID", EVENTS, GROUP, group["last-delivered-id"], "ENTRIESREAD", str(gone))
        return gone - int(read)

    async def _info(self, *what: str) -> dict[str, Any]:
        return _paired(await self._do("XINFO", *what))

    async def _do(self, *command: str) -> Any:
        # A task of its own, which a cancellation leaves at once: in Python 3.11 the library can swallow it.
        asking = asyncio.ensure_future(self._redis.execute_command(*command))
        try:
            await asyncio.wait((asking,))
        except asyncio.CancelledError:
            asking.cancel()
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody has to look
            raise
        try:
            return asking.result()
        except ResponseError as error:
            raise EventGroupError(str(error)) from None
        except (RedisError, OSError, TimeoutError) as error:
            raise EventGroupError(str(error) or type(error).__name__) from None


def _paired(answer: Any) -> dict[str, Any]:
    """Names with their values: the library, by its version, answers with a list or has made a dictionary of it."""
    if isinstance(answer, dict):
        return answer
    return dict(zip(answer[::2], answer[1::2], strict=True))
