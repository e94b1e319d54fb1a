"""Jobs in Redis: the queue, the hashes, the log streams, the events.

Every operation waits for a Redis that is away, however long, and is then carried out once: the daemon has nothing
better to do, and a job must not end otherwise because Redis did not listen. Commands of Redis 7.0 only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from redis.exceptions import RedisError, ResponseError, WatchError

from tinyci.model.retention import KeptJob
from tinyci.model.state import FINAL
from tinyci.model.timestamp import now
from tinyci.store.connection import client
from tinyci.store.keys import ACCEPTED, EVENTS, JOBS, PAUSED, QUEUE, of_job, of_log

_EVENTS_KEPT = 10_000
_EVENT_TEXT = 512
"""Characters of each field of an event."""
_OF_THE_JOB = ("repo", "ref", "revision", "pusher", "user")
"""Fields of the hash that its events repeat."""
_BATCH = 500
_BLOCK = 5.0
"""Seconds that a blocking read asks for, so that a dead peer is noticed."""
_TIMEOUT = 10.0
_BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0)

T = TypeVar("T")


class StoreError(Exception):
    """What is stored is not what it should be (a key of another type); waiting would not mend it."""


class _MisplacedKeyError(Exception):
    """A key of ours that all jobs need has another type: somebody's mistake, waited for as an outage is."""


class Store:
    """tinyci's keys in one Redis. `on_outage` is told the error when Redis goes away, and None when it is back;
    `on_log` the id of a job when lines were added to its log, and `on_event` that there is one more."""

    def __init__(
        self,
        socket: str,
        user: str,
        password: str,
        on_outage: Callable[[str | None], None] = lambda _: None,
        on_log: Callable[[str], None] = lambda _: None,
        on_event: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client(socket, user, password, _TIMEOUT)
        self._taker = client(socket, user, password, _BLOCK + _TIMEOUT)
        self._on_outage = on_outage
        self._on_log = on_log
        self._on_event = on_event
        self._away = False

    async def close(self) -> None:
        for each in (self._client, self._taker):
            await each.connection_pool.disconnect()

    async def ping(self) -> None:
        """Return as soon as Redis answers and lets us in."""
        await self._patiently(lambda: self._do("PING"))

    async def take(self) -> str | None:
        """The id that waits longest, now moved to `tinyci:accepted`; None when none came for some seconds."""

        async def once() -> str | None:
            # A task of its own, which a cancellation leaves at once: see _patiently().
            block = self._taker.execute_command("BLMOVE", QUEUE, ACCEPTED, "RIGHT", "LEFT", _BLOCK)
            taking = asyncio.ensure_future(block)
            try:
                await asyncio.wait((taking,))
            except asyncio.CancelledError:
                taking.cancel()
                taking.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody has to look
                raise
            return taking.result()  # type: ignore[no-any-return]

        return await self._patiently(once)

    async def accepted(self) -> list[str]:
        """Ids that were taken and not released, in push order."""
        ids: list[str] = await self._patiently(lambda: self._do("LRANGE", ACCEPTED, 0, -1))
        return ids[::-1]

    async def live(self) -> set[str]:
        """Every id that waits or is accepted."""
        # In this order: one that is moved between the two looks is in both.
        waiting: list[str] = await self._patiently(lambda: self._do("LRANGE", QUEUE, 0, -1))
        return {*waiting, *await self.accepted()}

    async def waiting(self) -> int:
        """How many ids nobody has taken yet."""
        return int(await self._patiently(lambda: self._do("LLEN", QUEUE)))

    async def job(self, job_id: str) -> dict[str, str]:
        """The hash of a job, empty when there is none. Raises StoreError."""
        return dict(await self._patiently(lambda: self._do("HGETALL", of_job(job_id)), of_a_job=True))

    async def recent(self, count: int) -> list[str]:
        """The newest kept ids, newest first."""
        return list(await self._patiently(lambda: self._do("ZREVRANGE", JOBS, 0, count - 1)))

    async def add(self, job_id: str, fields: Mapping[str, str], created: float) -> bool:
        """Add a job as the hook does, but straight to `tinyci:accepted`: for who accepts it himself.

        Returns False, and adds nothing, when Redis knows the id already. Raises StoreError. `created`: seconds.

        A hash alone is not known: Redis had made it when it found that the queue was no list, and nothing led to it.
        """

        async def once() -> bool:
            async with self._client.pipeline(transaction=True) as pipe:
                await pipe.watch(of_job(job_id), QUEUE, ACCEPTED)
                await _check_types(pipe, {JOBS: "zset", QUEUE: "list", ACCEPTED: "list"})
                if await pipe.execute_command("EXISTS", of_job(job_id)):
                    begun = await pipe.execute_command("HEXISTS", of_job(job_id), "state")
                    waits = [await pipe.execute_command("LPOS", key, job_id) for key in (QUEUE, ACCEPTED)]
                    if begun or waits != [None, None]:
                        return False
                pipe.multi()
                pipe.execute_command("HSET", of_job(job_id), *_flat(fields))
                pipe.execute_command("ZADD", JOBS, created, job_id)
                pipe.execute_command("LPUSH", ACCEPTED, job_id)
                await pipe.execute()
                return True

        return await self._patiently(once, of_a_job=True)

    async def paused(self) -> bool:
        """Whether the queue rests."""
        return bool(await self._patiently(lambda: self._do("EXISTS", PAUSED)))

    async def pause(self, paused: bool) -> None:
        """Let the queue rest, or go on; kept through restarts. The value says since when."""
        command = ("SET", PAUSED, now()) if paused else ("DEL", PAUSED)
        await self._patiently(lambda: self._do(*command))

    async def kept(self) -> list[KeptJob]:
        """Every kept job, oldest first."""

        async def once() -> list[KeptJob]:
            rows: list[KeptJob] = []
            flat = await self._do("ZRANGE", JOBS, 0, -1, "WITHSCORES")
            indexed = list(zip(flat[::2], flat[1::2], strict=True))
            for start in range(0, len(indexed), _BATCH):
                part = indexed[start : start + _BATCH]
                async with self._client.pipeline(transaction=False) as pipe:
                    for job_id, _ in part:
                        pipe.execute_command("HMGET", of_job(job_id), "repo", "ref", "state", "created", "image")
                    replies = await pipe.execute(raise_on_error=False)
                for (job_id, score), reply in zip(part, replies, strict=True):
                    values = [""] * 5 if isinstance(reply, Exception) else [value or "" for value in reply]
                    repo, ref, state, created, image = values
                    rows.append(KeptJob(job_id, repo, ref, state, created, image, float(score)))
            return rows

        return await self._patiently(once)

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Remove jobs with all that belongs to them."""
        for start in range(0, len(job_ids), _BATCH):
            part = job_ids[start : start + _BATCH]
            keys = [key for job_id in part for key in (of_job(job_id), of_log(job_id))]
            await self._patiently(lambda keys=keys: self._do("UNLINK", *keys))  # type: ignore[misc]
            await self._patiently(lambda part=part: self._do("ZREM", JOBS, *part))  # type: ignore[misc]

    async def update(self, job_id: str, fields: Mapping[str, str]) -> bool:
        """Write fields of a job that has not ended, with an event when they hold a `state`.

        Returns False, and writes nothing, when the job has ended: a final state is written once. Raises StoreError.
        """

        async def once() -> bool:
            async with self._client.pipeline(transaction=True) as pipe:
                await pipe.watch(of_job(job_id))
                command = ("HMGET", of_job(job_id), "state", *_OF_THE_JOB, *fields)
                old, *values = await pipe.execute_command(*command)
                about, there = values[: len(_OF_THE_JOB)], values[len(_OF_THE_JOB) :]
                if there == list(fields.values()):
                    return True  # written by a try whose acknowledgement was lost
                if old in FINAL:
                    return False
                await _check_types(pipe, {JOBS: "zset", EVENTS: "stream"})
                pipe.multi()
                pipe.execute_command("HSET", of_job(job_id), *_flat(fields))
                if "state" in fields:
                    # A shell script that made the job did not index it.
                    pipe.execute_command("ZADD", JOBS, "NX", time.time(), job_id)
                    event = _event(job_id, dict(zip(_OF_THE_JOB, about, strict=True)), fields)
                    pipe.execute_command("XADD", EVENTS, "MAXLEN", "~", _EVENTS_KEPT, "*", *_flat(event))
                await pipe.execute()
                return True

        written = await self._patiently(once, of_a_job=True)
        if "state" in fields:
            self._on_event()
        return written

    async def events(self, start: str, count: int, newest: bool) -> list[tuple[str, dict[str, str]]]:
        """Entries of `tinyci:events` from an id on (as XRANGE has it: inclusive, or after a `(`), the first of them or
        the newest, at most so many, oldest first. Raises StoreError."""
        command = ("XREVRANGE", EVENTS, "+", start) if newest else ("XRANGE", EVENTS, start, "+")
        entries = await self._patiently(lambda: self._do(*command, "COUNT", count), of_a_job=True)
        return list(reversed(entries)) if newest else list(entries)

    async def release(self, job_id: str) -> None:
        """The job is done with: out of `tinyci:accepted`."""
        await self._patiently(lambda: self._do("LREM", ACCEPTED, 0, job_id))

    async def logged(self, job_id: str) -> int:
        """How many lines the log of a job has."""
        last = await self._patiently(lambda: self._do("XREVRANGE", of_log(job_id), "+", "-", "COUNT", 1), of_a_job=True)
        return int(last[0][0].partition("-")[0]) if last else 0

    async def output(self, job_id: str, after: int, count: int) -> list[tuple[int, str]]:
        """Lines of the log of a job with their numbers, at most so many, that come after that number."""
        entries = await self._patiently(
            lambda: self._do("XRANGE", of_log(job_id), f"({after}-0", "+", "COUNT", count), of_a_job=True
        )
        return [(int(number.partition("-")[0]), values["line"]) for number, values in entries]

    async def log(self, job_id: str, first: int, lines: Sequence[str]) -> None:
        """Add lines, the first of which has that number (from 1). The number is the entry's id, so that a line whose
        acknowledgement was lost is not added twice."""

        async def once() -> None:
            async with self._client.pipeline(transaction=False) as pipe:
                for number, line in enumerate(lines, first):
                    pipe.execute_command("XADD", of_log(job_id), f"{number}-0", "line", line)
                for reply in await pipe.execute(raise_on_error=False):
                    if isinstance(reply, Exception) and "equal or smaller" not in str(reply):
                        raise reply

        await self._patiently(once, of_a_job=True)
        self._on_log(job_id)

    async def _do(self, *command: Any) -> Any:
        return await self._client.execute_command(*command)

    async def _patiently(self, operation: Callable[[], Awaitable[T]], of_a_job: bool = False) -> T:
        """`of_a_job`: a key of another type is that job's trouble, and not Redis'."""
        tries = 0
        task = asyncio.current_task()
        while True:
            # The library sends with asyncio.wait_for(), which in Python 3.11 swallows a cancellation that comes when
            # the last byte has just gone. Who cancels does so once, and waits for us.
            if task and task.cancelling():
                raise asyncio.CancelledError
            try:
                result = await operation()
            except WatchError:
                continue  # somebody wrote the hash between our look and our write: look again
            except (RedisError, OSError, TimeoutError, _MisplacedKeyError) as error:
                if of_a_job and isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
                    raise StoreError(f"Redis has a key of another type where a job belongs: {error}") from None
                if not self._away:
                    self._away = True
                    self._on_outage(str(error) or type(error).__name__)
                # A server that comes back sends no event to those it has no connection with.
                await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
                tries += 1
                continue
            if self._away:
                self._away = False
                self._on_outage(None)
            if task and task.cancelling():
                raise asyncio.CancelledError
            return result


async def _check_types(pipe: Any, types: Mapping[str, str]) -> None:
    """Before a transaction: Redis carries out the rest of one in which a command met a key of another type."""
    for key, kind in types.items():
        found = await pipe.execute_command("TYPE", key)
        if found not in (kind, "none"):
            raise _MisplacedKeyError(f"{key} is a {found} where a {kind} belongs")


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def _event(job_id: str, known: Mapping[str, str | None], fields: Mapping[str, str]) -> dict[str, str]:
    """What `tinyci:events` has of a change: enough to tell people of it, and never much. The hash may be of a shell
    script, and of any size."""
    about = {name: fields.get(name) or known[name] or "" for name in _OF_THE_JOB}
    about = {name: text for name, text in about.items() if text or name in ("repo", "ref")}
    change = {name: fields[name] for name in ("state", "success", "reason", "attempt") if name in fields}
    event = {"job": job_id, **about, "at": now(), **change}
    return {name: text if len(text) <= _EVENT_TEXT else f"{text[: _EVENT_TEXT - 1]}…" for name, text in event.items()}
