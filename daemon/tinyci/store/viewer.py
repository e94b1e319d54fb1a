"""Read-only view of Redis for the web. Tries once; an outage is reported, not waited for.

Nothing here writes. Commands of Redis 7.0 only.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import RedisError, ResponseError

from tinyci.model.fields import HOOK_FIELDS
from tinyci.model.job import fields_of_hook, is_id
from tinyci.store.command import detached
from tinyci.store.connection import client
from tinyci.store.keys import ACCEPTED, EVENTS, JOBS, PAUSED, QUEUE, of_job, of_log, of_new

TIMEOUT = 2.0
"""Seconds that Redis has for an answer."""
_BATCH = 250
_PARALLEL = 16
"""Questions to Redis at the same time, however many ask."""
_BIG = 1 << 20
"""Bytes of a hash that is not read as a whole: the daemon writes a tenth of that."""
_FIELD = 1 << 17
"""Bytes of the largest field that is read of such a hash."""
_PORTION = 1 << 18
"""Characters of output that about suffice for one answer; a single line may have four times as many."""
_NEW_COUNT = 100
_END = "18446744073709551615"
"""The greatest second half of an entry's id; the first half is the number of the line."""

_AWAY = (RedisError, OSError, TimeoutError)

T = TypeVar("T")
Fields = dict[str, str]
Line = tuple[int, str]


class ViewerError(Exception):
    """Redis does not answer, or a key is not tinyci's; one sentence."""


class IndexEntry(NamedTuple):
    """A kept job in the index."""

    id: str
    time: float
    """Seconds since the epoch."""


class Counts(NamedTuple):
    """The state of the queue; None where the key has another type."""

    queue_length: int | None
    accepted_count: int | None
    is_paused: bool


class News(NamedTuple):
    """Lines of a log and events since the last call."""

    lines: list[Line]
    events: list[tuple[str, Fields]]
    """Ids and fields."""


class StoreViewer:
    """tinyci's keys in one Redis, read only. All methods raise ViewerError."""

    def __init__(self, socket: str, user: str, password: str) -> None:
        self._socket = socket
        self._connect = partial(client, socket, user, password)
        self._client = self._connect(TIMEOUT)
        self._slots = asyncio.Semaphore(_PARALLEL)

    async def close(self) -> None:
        await self._client.connection_pool.disconnect()

    async def ping(self) -> None:
        """Return when Redis answers and lets us in."""
        await self._run(lambda: self._client.execute_command("PING"))

    async def index(self) -> list[IndexEntry]:
        """All kept jobs, newest first."""
        flat = await self._run(lambda: self._client.execute_command("ZREVRANGE", JOBS, 0, -1, "WITHSCORES"))
        return _entries(flat)

    async def newest(self, count: int) -> tuple[list[IndexEntry], int]:
        """The `count` newest kept jobs, and the number of all."""

        async def ask() -> Any:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.execute_command("ZREVRANGE", JOBS, 0, count - 1, "WITHSCORES")
                pipe.execute_command("ZCARD", JOBS)
                return await pipe.execute()

        flat, card = await self._run(ask)
        return _entries(flat), int(card)

    async def hashes(self, job_ids: Sequence[str], names: Sequence[str]) -> list[Fields | None]:
        """Fields of jobs, as far as they exist; None for a key that is no hash."""
        hashes: list[Fields | None] = []
        for start in range(0, len(job_ids), _BATCH):
            part = job_ids[start : start + _BATCH]
            hashes += await self._run(lambda part=part: self._hashes(part, names))  # type: ignore[misc]
        return hashes

    async def job(self, job_id: str, names: Sequence[str]) -> Fields | None:
        """Fields of one job, also of one that the daemon has not taken yet: empty when there is no such job, None when
        its key is no hash."""
        (fields,) = await self.hashes([job_id], names)
        return await self.new_job(job_id) if fields == {} else fields

    async def new_job(self, job_id: str) -> Fields:
        """The fields of a job that the hook added and the daemon has not taken yet; empty when there is none."""

        async def ask() -> Fields:
            size = await self._client.execute_command("MEMORY", "USAGE", of_new(job_id), "SAMPLES", 0)
            if size is None or size > _FIELD:
                return {}
            values = await self._client.execute_command("HMGET", of_new(job_id), *HOOK_FIELDS)
            return fields_of_hook(dict(zip(HOOK_FIELDS, values, strict=True)), time.time())

        return await self._run(ask)

    async def new_ids(self) -> list[str]:
        """Ids of the jobs that wait for the daemon to take them, newest first; at most as many as suit one page."""

        async def ask() -> list[str]:
            # Whoever may push may write anything of any length into the queue.
            size = await self._client.execute_command("MEMORY", "USAGE", QUEUE, "SAMPLES", 0)
            if size is None or size > _BIG:
                return []
            return list(await self._client.execute_command("LRANGE", QUEUE, 0, _NEW_COUNT - 1))

        try:
            return [job_id for job_id in await self._run(ask) if is_id(job_id)]
        except _WrongTypeError:
            return []

    async def _hashes(self, job_ids: Sequence[str], names: Sequence[str]) -> list[Fields | None]:
        # Whoever may push may write a hash of any size: only such a hash costs more than one question.
        async with self._client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.execute_command("MEMORY", "USAGE", of_job(job_id), "SAMPLES", 0)
            sizes = await pipe.execute(raise_on_error=False)
            names_by_job = [
                names if not isinstance(size, int) or size < _BIG else await self._small_fields(job_id, names)
                for job_id, size in zip(job_ids, sizes, strict=True)
            ]
            for job_id, some in zip(job_ids, names_by_job, strict=True):
                pipe.execute_command("HMGET", of_job(job_id), *some)
            replies = await pipe.execute(raise_on_error=False)
        hashes: list[Fields | None] = []
        for some, reply in zip(names_by_job, replies, strict=True):
            if isinstance(reply, Exception):
                if "WRONGTYPE" not in str(reply):
                    raise reply
                hashes.append(None)
            else:
                hashes.append({name: value for name, value in zip(some, reply, strict=True) if value is not None})
        return hashes

    async def _small_fields(self, job_id: str, names: Sequence[str]) -> Sequence[str]:
        """Names of the fields that are not too big to be read."""
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.execute_command("HSTRLEN", of_job(job_id), name)
            sizes = await pipe.execute(raise_on_error=False)
        small = [name for name, size in zip(names, sizes, strict=True) if isinstance(size, int) and size <= _FIELD]
        return small or names[:1]

    async def last_line_number(self, job_id: str) -> int:
        """The number of the last line of a job's log; 0 when there is none."""
        lines = await self._range("XREVRANGE", of_log(job_id), "+", "-", 1)
        return lines[0][0] if lines else 0

    async def lines_after(self, job_id: str, number: int, most: int = 1000) -> list[Line]:
        """Some lines of a job's log after a number: at least one, unless there is none."""
        lines: list[Line] = []
        count, size = 8, 0
        while len(lines) < most and size < _PORTION:
            start = lines[-1][0] if lines else number
            count = min(count, most - len(lines))
            part = await self._range("XRANGE", of_log(job_id), f"({start}-{_END}", "+", count)
            lines += part
            if len(part) < count:
                break
            size += sum(len(line) for _, line in part)
            count *= 4  # a line may have a million characters, so one begins with few
        return lines

    async def lines_before(self, job_id: str, number: int | None, most: int) -> list[Line]:
        """At most `most` of the last lines of a job's log, in their order; before `number` unless that is None."""
        lines: list[Line] = []
        count, size = 8, 0
        while len(lines) < most and size < 4 * _PORTION:
            first = lines[-1][0] if lines else number
            if first == 0:
                break  # before the first id that a stream may have, which Redis calls an error
            count = min(count, most - len(lines))
            end = "+" if first is None else f"({first}-0"
            part = await self._range("XREVRANGE", of_log(job_id), end, "-", count)
            lines += part
            if len(part) < count:
                break
            size += sum(len(line) for _, line in part)
            count *= 4
        return lines[::-1]

    async def counts(self) -> Counts:
        """Count the jobs that wait and that the daemon has."""

        async def ask() -> Any:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.execute_command("LLEN", QUEUE)
                pipe.execute_command("LLEN", ACCEPTED)
                pipe.execute_command("EXISTS", PAUSED)
                return await pipe.execute(raise_on_error=False)

        *lengths, pause = await self._run(ask)
        if isinstance(pause, Exception):
            raise ViewerError(f"Redis does not answer ({pause})")
        queue_length, accepted_count = (None if isinstance(reply, Exception) else int(reply) for reply in lengths)
        return Counts(queue_length, accepted_count, bool(pause))

    async def last_event(self) -> str:
        """The id of the last event, for watch()."""
        entries = await self._run(lambda: self._client.execute_command("XREVRANGE", EVENTS, "+", "-", "COUNT", 1))
        return str(entries[0][0]) if entries else "0-0"

    def watch(self, event: str, job_id: str = "", number: int = 0) -> "StreamWatch":
        """Watch for events after one, and with a job for lines of its log after a number."""
        return StreamWatch(self._connect, self._error, event, job_id, number)

    async def _range(self, command: str, *arguments: Any) -> list[Line]:
        key, start, end, count = arguments
        try:
            entries = await self._run(lambda: self._client.execute_command(command, key, start, end, "COUNT", count))
        except _WrongTypeError:  # not a log of ours: a job without a log
            return []
        return _lines(entries)

    async def _run(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def in_turn() -> T:
            async with self._slots:
                return await operation()

        try:
            # To its end: a connection given back in the middle of an answer would give the rest of it to the next
            # question.
            return await detached(in_turn(), finish=True)
        except _AWAY as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> ViewerError:
        if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
            return _WrongTypeError(
                "a key of tinyci's in Redis has another type than it should; 'tinyci doctor' says more"
            )
        reason = str(error).partition("\n")[0] or type(error).__name__
        return ViewerError(f"Redis does not answer at {self._socket} ({reason})")


class _WrongTypeError(ViewerError):
    """A key has another type."""


class StreamWatch:
    """A wait for news over a connection of its own."""

    def __init__(
        self,
        make: Callable[[float], Any],
        fail: Callable[[Exception], ViewerError],
        event: str,
        job_id: str,
        number: int,
    ) -> None:
        self._connect = make
        self._error = fail
        self._client: Any | None = None
        self._event = event
        self._job_id = job_id
        self._number = number
        self._count = 8

    async def next(self, patience: float) -> News:
        """Return the news since the last call; none when none came for `patience` seconds. Raises ViewerError."""
        if self._client is None:
            self._client = self._connect(patience + TIMEOUT)
        streams = {EVENTS: self._event} | ({of_log(self._job_id): f"{self._number}-{_END}"} if self._job_id else {})
        command = ("XREAD", "COUNT", self._count, "BLOCK", int(patience * 1000), "STREAMS", *streams, *streams.values())
        try:
            reply = await detached(self._client.execute_command(*command))
        except _AWAY as error:
            raise self._error(error) from None
        streams_by_key: Mapping[str, Any] = dict(reply or ())
        news = News(
            _lines(streams_by_key.get(of_log(self._job_id), ())),
            [(str(event_id), fields) for event_id, fields in streams_by_key.get(EVENTS, ())],
        )
        if news.lines:
            self._number = news.lines[-1][0]
            size = sum(len(line) for _, line in news.lines)
            if size > _PORTION:
                self._count = 8
            elif len(news.lines) == self._count:
                self._count = min(4 * self._count, 512)
        if news.events:
            self._event = news.events[-1][0]
        return news

    async def close(self) -> None:
        if self._client is not None:
            await self._client.connection_pool.disconnect()


def _entries(flat: Sequence[Any]) -> list[IndexEntry]:
    # The library makes pairs of some replies, by version and by the way of asking.
    pairs = flat if flat and isinstance(flat[0], list | tuple) else zip(flat[::2], flat[1::2], strict=True)
    return [IndexEntry(str(job_id), float(score)) for job_id, score in pairs]


def _lines(entries: Sequence[Any]) -> list[Line]:
    return [(int(number.partition("-")[0]), values.get("line", "")) for number, values in entries]
