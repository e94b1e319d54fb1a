"""Kept jobs as somebody sees them who only looks: one try, and no answer is an answer.

Beside store.py, which waits for a Redis that is away, however long: right for a daemon that must not lose what it has
to write, and wrong for a page that somebody waits for. Nothing here writes. Commands of Redis 7.0 only.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import RedisError, ResponseError

from tinyci.store.connection import client
from tinyci.store.keys import ACCEPTED, EVENTS, JOBS, PAUSED, QUEUE, of_job, of_log

TIMEOUT = 2.0
"""Seconds that Redis has for an answer."""
_BATCH = 250
_AT_ONCE = 16
"""Questions to Redis, however many ask."""
_BIG = 1 << 20
"""Bytes of a hash that is not read as a whole: the daemon writes a tenth of that."""
_FIELD = 1 << 17
"""Bytes of a field that is read of such a hash."""
_PORTION = 1 << 18
"""Characters of output that are about enough for one look; a single line may have four times as many."""
_END = "18446744073709551615"
"""The greatest part of an entry's id behind the number of the line."""

_AWAY = (RedisError, OSError, TimeoutError)

T = TypeVar("T")
Fields = dict[str, str]
Line = tuple[int, str]


class ViewerError(Exception):
    """Redis does not answer, or not with what is ours; one sentence."""


class IndexEntry(NamedTuple):
    """A kept job in the index."""

    id: str
    time: float
    """Seconds since the epoch."""


class Counts(NamedTuple):
    """What is not in any job; None where the key has another type."""

    waiting: int | None
    accepted: int | None
    paused: bool


class News(NamedTuple):
    """What came since the last look."""

    lines: list[Line]
    events: list[tuple[str, Fields]]
    """With their ids."""


class StoreViewer:
    """tinyci's keys in one Redis, to look at. All methods raise ArchiveError."""

    def __init__(self, socket: str, user: str, password: str) -> None:
        self._socket = socket
        self._make = partial(client, socket, user, password)
        self._client = self._make(TIMEOUT)
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        await self._client.connection_pool.disconnect()

    async def ping(self) -> None:
        """Return when Redis answers and lets us in."""
        await self._ask(lambda: self._client.execute_command("PING"))

    async def index(self) -> list[IndexEntry]:
        """Every kept job, newest first."""
        flat = await self._ask(lambda: self._client.execute_command("ZREVRANGE", JOBS, 0, -1, "WITHSCORES"))
        return _entries(flat)

    async def head(self, count: int) -> tuple[list[IndexEntry], int]:
        """The newest kept jobs, and how many there are."""

        async def once() -> Any:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.execute_command("ZREVRANGE", JOBS, 0, count - 1, "WITHSCORES")
                pipe.execute_command("ZCARD", JOBS)
                return await pipe.execute()

        flat, card = await self._ask(once)
        return _entries(flat), int(card)

    async def hashes(self, job_ids: Sequence[str], names: Sequence[str]) -> list[Fields | None]:
        """These fields of those jobs, as far as they are there; None for a key that is no hash."""
        found: list[Fields | None] = []
        for start in range(0, len(job_ids), _BATCH):
            part = job_ids[start : start + _BATCH]
            found += await self._ask(lambda part=part: self._hashes(part, names))  # type: ignore[misc]
        return found

    async def job(self, job_id: str, names: Sequence[str]) -> Fields | None:
        """These fields of one job: empty when there is no such job, None when its key is no hash."""
        (found,) = await self.hashes([job_id], names)
        return found

    async def _hashes(self, job_ids: Sequence[str], names: Sequence[str]) -> list[Fields | None]:
        # Who may push may write a hash, of any size. What is usual is one question, and what is not costs its asker.
        async with self._client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.execute_command("MEMORY", "USAGE", of_job(job_id), "SAMPLES", 0)
            sizes = await pipe.execute(raise_on_error=False)
            wanted = [
                names if not isinstance(size, int) or size < _BIG else await self._small(job_id, names)
                for job_id, size in zip(job_ids, sizes, strict=True)
            ]
            for job_id, some in zip(job_ids, wanted, strict=True):
                pipe.execute_command("HMGET", of_job(job_id), *some)
            replies = await pipe.execute(raise_on_error=False)
        found: list[Fields | None] = []
        for some, reply in zip(wanted, replies, strict=True):
            if isinstance(reply, Exception):
                if "WRONGTYPE" not in str(reply):
                    raise reply
                found.append(None)
            else:
                found.append({name: value for name, value in zip(some, reply, strict=True) if value is not None})
        return found

    async def _small(self, job_id: str, names: Sequence[str]) -> Sequence[str]:
        """Names of those fields that are not too big to be read."""
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.execute_command("HSTRLEN", of_job(job_id), name)
            sizes = await pipe.execute(raise_on_error=False)
        small = [name for name, size in zip(names, sizes, strict=True) if isinstance(size, int) and size <= _FIELD]
        return small or names[:1]

    async def last(self, job_id: str) -> int:
        """The number of the last line of a job's log; 0 when there is none."""
        found = await self._range("XREVRANGE", of_log(job_id), "+", "-", 1)
        return found[0][0] if found else 0

    async def after(self, job_id: str, number: int, most: int = 1000) -> list[Line]:
        """Some lines of a job's log that come after that number: at least one, unless there is none."""
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

    async def before(self, job_id: str, number: int | None, most: int) -> list[Line]:
        """The last lines of a job's log, in their order: at most so many, before that number if one is given."""
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
        """How many jobs wait or are with the daemon, and whether the queue rests."""

        async def once() -> Any:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.execute_command("LLEN", QUEUE)
                pipe.execute_command("LLEN", ACCEPTED)
                pipe.execute_command("EXISTS", PAUSED)
                return await pipe.execute(raise_on_error=False)

        waiting, accepted, paused = await self._ask(once)
        if isinstance(paused, Exception):
            raise ViewerError(f"Redis does not answer ({paused})")
        numbers = [None if isinstance(reply, Exception) else int(reply) for reply in (waiting, accepted)]
        return Counts(numbers[0], numbers[1], bool(paused))

    async def last_event(self) -> str:
        """The id of the last event, for Watch."""
        found = await self._ask(lambda: self._client.execute_command("XREVRANGE", EVENTS, "+", "-", "COUNT", 1))
        return str(found[0][0]) if found else "0-0"

    def watch(self, event: str, job_id: str = "", number: int = 0) -> "StreamWatch":
        """Whoever waits for events after that one, and with a job for lines of its log after that number."""
        return StreamWatch(self._make, self._fail, event, job_id, number)

    async def _range(self, command: str, *arguments: Any) -> list[Line]:
        key, start, end, count = arguments
        try:
            entries = await self._ask(lambda: self._client.execute_command(command, key, start, end, "COUNT", count))
        except _WrongTypeError:  # somebody else's key: a job without a log
            return []
        return _lines(entries)

    async def _ask(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def once() -> T:
            async with self._places:
                return await operation()

        # A task of its own, which ends although nobody waits for it any more: a connection given back in the middle
        # of an answer would give the rest of it to the next who asks (redis-py before 4.5.4).
        asking = asyncio.ensure_future(once())
        asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.shield(asking)
        except _AWAY as error:
            raise self._fail(error) from None

    def _fail(self, error: Exception) -> ViewerError:
        if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
            return _WrongTypeError(
                "a key of tinyci's in Redis has another type than it should; 'tinyci doctor' says more"
            )
        why = str(error).partition("\n")[0] or type(error).__name__
        return ViewerError(f"Redis does not answer at {self._socket} ({why})")


class _WrongTypeError(ViewerError):
    """A key has another type."""


class StreamWatch:
    """Waits for what comes next, over a connection of its own."""

    def __init__(
        self,
        make: Callable[[float], Any],
        fail: Callable[[Exception], ViewerError],
        event: str,
        job_id: str,
        number: int,
    ) -> None:
        self._make = make
        self._fail = fail
        self._client: Any | None = None
        self._event = event
        self._job = job_id
        self._number = number
        self._count = 8

    async def next(self, patience: float) -> News:
        """What came since the last call; empty when nothing came for so many seconds. Raises ArchiveError."""
        if self._client is None:
            self._client = self._make(patience + TIMEOUT)
        streams = {EVENTS: self._event} | ({of_log(self._job): f"{self._number}-{_END}"} if self._job else {})
        command = ("XREAD", "COUNT", self._count, "BLOCK", int(patience * 1000), "STREAMS", *streams, *streams.values())
        # A task of its own, which a cancellation leaves at once: see Store._patiently().
        asking = asyncio.ensure_future(self._client.execute_command(*command))
        asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody has to look
        try:
            await asyncio.wait((asking,))
            reply = asking.result()
        except asyncio.CancelledError:
            asking.cancel()
            raise
        except _AWAY as error:
            raise self._fail(error) from None
        found: Mapping[str, Any] = dict(reply or ())
        news = News(_lines(found.get(of_log(self._job), ())), [(str(at), said) for at, said in found.get(EVENTS, ())])
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
