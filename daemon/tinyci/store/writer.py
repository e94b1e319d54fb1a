"""The daemon's access to Redis: the queue, the hashes, the log streams, the events.

Every operation waits for a Redis that is away, however long, and is then carried out once: the daemon has nothing
better to do, and an outage of Redis must not change the end of a job. Commands of Redis 7.0 only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from tinyci.model import timestamp
from tinyci.model.fields import HOOK_FIELDS
from tinyci.model.job import ID_MAX, fields_of_hook
from tinyci.model.retention import KeptJob
from tinyci.runtime.backoff import Backoff
from tinyci.store.command import detached
from tinyci.store.connection import client
from tinyci.store.keys import ACCEPTED, ANY_ID, EVENTS, JOBS, PAUSED, QUEUE, of_job, of_log, of_new
from tinyci.store.listener import StoreListener
from tinyci.store.scripts import ADD, ADMIT, LOOK, RELEASE, TAKE, UPDATE, Call

_EVENT_TEXT_MAX = 512
"""Characters of each field of an event."""
_KEPT_FIELDS = ("repo", "ref", "state", "created", "moment", "image", "rollback_to", "retry_of")
"""Fields of the hash that a KeptJob has."""
_BATCH = 500
_NEW_COUNT = 10_000
_BLOCK = 60.0
"""Seconds that a blocking read asks for, so that a dead peer is noticed."""
_TIMEOUT = 10.0
_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0)

T = TypeVar("T")


class StoreError(Exception):
    """A key of a job has another type; waiting would not mend it."""


class StoreWriter:
    """tinyci's keys in one Redis."""

    def __init__(self, socket: str, user: str, password: str, listener: StoreListener | None = None) -> None:
        self._client = client(socket, user, password, _TIMEOUT)
        self._taker = client(socket, user, password, _BLOCK + _TIMEOUT)
        self._listener = listener or StoreListener()
        self._is_away = False

    async def close(self) -> None:
        for each in (self._client, self._taker):
            await each.connection_pool.disconnect()

    async def ping(self) -> None:
        """Return as soon as Redis answers and lets us in."""
        await self._retry(lambda: self._execute("PING"))

    async def take(self) -> str | None:
        """Move the id that waits longest to `tinyci:accepted`. Returns None when none came for a minute."""

        async def attempt() -> str | None:
            command = self._taker.execute_command("BLMOVE", QUEUE, ACCEPTED, "RIGHT", "LEFT", _BLOCK)
            return await detached(command)

        return await self._retry(attempt)

    async def take_more(self, most: int) -> tuple[list[str], list[int]]:
        """Move up to so many ids that wait to `tinyci:accepted`, those that wait longest first. Returns them, and the
        lengths of texts that are too long for an id and were dropped."""
        ids, lengths = await self._retry(lambda: TAKE.run(self._client, (QUEUE, ACCEPTED), most, ID_MAX))
        return list(ids), list(lengths)

    async def accepted_ids(self) -> list[str]:
        """Ids that were taken and not released, in push order."""
        ids: list[str] = await self._retry(lambda: self._execute("LRANGE", ACCEPTED, 0, -1))
        return ids[::-1]

    async def live_ids(self, job_ids: Sequence[str]) -> set[str]:
        """Every accepted id, and those of `job_ids` that wait."""

        async def look() -> list[str]:
            async with self._client.pipeline(transaction=False) as pipe:
                for job_id in job_ids:
                    pipe.execute_command("LPOS", QUEUE, job_id)
                places = await pipe.execute()
            return [job_id for job_id, place in zip(job_ids, places, strict=True) if place is not None]

        # In this order: one that is moved between the two looks is in both. The queue is not read as a whole, since
        # the hook's account may write anything of any length into it.
        waiting = await self._retry(look) if job_ids else []
        return {*waiting, *await self.accepted_ids()}

    async def queue_length(self) -> int:
        """Number of ids that were not taken yet."""
        return int(await self._retry(lambda: self._execute("LLEN", QUEUE)))

    async def job(self, job_id: str) -> dict[str, str]:
        """The hash of a job, empty when there is none. Raises StoreError."""
        return dict(await self._retry(lambda: self._execute("HGETALL", of_job(job_id)), is_for_one_job=True))

    async def admit(self, job_ids: Sequence[str], now: float) -> dict[str, dict[str, str] | StoreError]:
        """Return the hashes of jobs whose ids are in a list, by id, empty where there is none; make them of the hashes
        that the hook added. No account but the daemon's can change them any more. `now`: seconds since the epoch.
        In place of the hash of a job that has none of the right type there is the error."""

        async def attempt() -> dict[str, dict[str, str] | StoreError]:
            results: dict[str, dict[str, str] | StoreError] = {}
            new: dict[str, dict[str, str]] = {}
            replies = await LOOK.run_all(self._client, [((of_job(each), of_new(each)), ()) for each in job_ids])
            for job_id, reply in zip(job_ids, _checked(replies), strict=True):
                match reply:
                    case StoreError():
                        results[job_id] = reply
                    case [0, pairs]:
                        results[job_id] = _unflat(pairs)
                    case [1, values]:
                        new[job_id] = fields_of_hook(dict(zip(HOOK_FIELDS, values, strict=True)), now)
                    case [_, size]:
                        await self._execute("UNLINK", of_new(job_id))
                        text = f"its hash took {size} bytes, where the hook's takes some hundred"
                        results[job_id] = StoreError(text)
            calls: list[Call] = []
            for job_id, fields in new.items():
                score = timestamp.seconds(fields.get("created", "")) or now
                calls.append(((of_job(job_id), of_new(job_id), JOBS), (job_id, score, *_flat(fields))))
            if calls:
                replies = _checked(await ADMIT.run_all(self._client, calls))
                for job_id, reply in zip(new, replies, strict=True):
                    results[job_id] = reply if isinstance(reply, StoreError) else _unflat(reply)
            return results

        return await self._retry(attempt)

    async def new_ids(self) -> set[str]:
        """Ids of jobs that the hook added and that were not admitted; some of them when there are very many."""
        ids: set[str] = set()
        cursor = "0"
        while True:
            command = ("SCAN", cursor, "MATCH", of_new(ANY_ID), "COUNT", _BATCH)
            cursor, keys = await self._retry(lambda command=command: self._execute(*command))  # type: ignore[misc]
            ids.update(key.removeprefix(of_new("")) for key in keys)
            if int(cursor) == 0 or len(ids) > _NEW_COUNT:
                return ids

    async def is_new(self, job_id: str) -> bool:
        """True if the hook has added a job that was not admitted yet."""
        return bool(await self._retry(lambda: self._execute("EXISTS", of_new(job_id))))

    async def forget_new(self, job_id: str) -> None:
        """Remove what the hook's account wrote for a job that there is already."""
        await self._retry(lambda: self._execute("UNLINK", of_new(job_id)))

    async def recent_ids(self, count: int) -> list[str]:
        """The newest kept ids, newest first."""
        return list(await self._retry(lambda: self._execute("ZREVRANGE", JOBS, 0, count - 1)))

    async def add(self, job_id: str, fields: Mapping[str, str], created: float) -> bool:
        """Add a job as the hook does, but straight to `tinyci:accepted`. `created`: seconds since the epoch.

        Returns False, and adds nothing, when Redis has the job already. Raises StoreError.
        """
        keys = (of_job(job_id), of_new(job_id), JOBS, QUEUE, ACCEPTED)

        async def attempt() -> bool:
            return bool(await ADD.run(self._client, keys, job_id, created, *_flat(fields)))

        return await self._retry(attempt, is_for_one_job=True)

    async def is_paused(self) -> bool:
        """True while no job may begin."""
        return bool(await self._retry(lambda: self._execute("EXISTS", PAUSED)))

    async def set_paused(self, *, paused: bool) -> None:
        """Let no job begin, or let them begin again; kept through restarts."""
        command = ("SET", PAUSED, timestamp.now()) if paused else ("DEL", PAUSED)
        await self._retry(lambda: self._execute(*command))

    async def kept_jobs(self) -> list[KeptJob]:
        """Every kept job, oldest first."""

        async def attempt() -> list[KeptJob]:
            jobs: list[KeptJob] = []
            flat = await self._execute("ZRANGE", JOBS, 0, -1, "WITHSCORES")
            entries = list(zip(flat[::2], flat[1::2], strict=True))
            for start in range(0, len(entries), _BATCH):
                part = entries[start : start + _BATCH]
                async with self._client.pipeline(transaction=False) as pipe:
                    for job_id, _ in part:
                        pipe.execute_command("HMGET", of_job(job_id), *_KEPT_FIELDS)
                    replies = await pipe.execute(raise_on_error=False)
                for (job_id, score), reply in zip(part, replies, strict=True):
                    values = [None] * len(_KEPT_FIELDS) if isinstance(reply, Exception) else reply
                    fields = {name: value or "" for name, value in zip(_KEPT_FIELDS, values, strict=True)}
                    jobs.append(KeptJob(id=job_id, time=float(score), **fields))
            return jobs

        return await self._retry(attempt)

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Remove jobs with all that belongs to them."""
        for start in range(0, len(job_ids), _BATCH):
            part = job_ids[start : start + _BATCH]
            keys = [key for job_id in part for key in (of_job(job_id), of_log(job_id))]
            await self._retry(lambda keys=keys: self._execute("UNLINK", *keys))  # type: ignore[misc]
            await self._retry(lambda part=part: self._execute("ZREM", JOBS, *part))  # type: ignore[misc]

    async def update(self, job_id: str, fields: Mapping[str, str]) -> bool:
        """Write fields of a job that has not ended, with an event when they hold a `state`.

        Returns False, and writes nothing, when the job has ended: a final state is written once. Raises StoreError.
        """
        result = (await self.update_all({job_id: fields}))[job_id]
        if isinstance(result, StoreError):
            raise result
        return result

    async def update_all(self, changes: Mapping[str, Mapping[str, str]]) -> dict[str, bool | StoreError]:
        """Write fields of several jobs, by id, as update() does. Returns what it returns or raises, by id."""
        calls: list[Call] = []
        for job_id, fields in changes.items():
            arguments: list[str | float] = [2 * len(fields), *_flat(fields)]
            if "state" in fields:
                arguments += [job_id, time.time(), *_flat(_event(job_id, fields))]
            calls.append(((of_job(job_id), JOBS, EVENTS), arguments))

        async def attempt() -> dict[str, bool | StoreError]:
            replies = _checked(await UPDATE.run_all(self._client, calls))
            return {
                job_id: reply if isinstance(reply, StoreError) else bool(reply)
                for job_id, reply in zip(changes, replies, strict=True)
            }

        results = await self._retry(attempt)
        if any("state" in fields for fields in changes.values()):
            self._listener.event_added()
        return results

    async def events(self, start: str, count: int, *, newest: bool) -> list[tuple[str, dict[str, str]]]:
        """At most `count` entries of `tinyci:events`, oldest first: the first or the newest ones from an id on, which
        is inclusive unless it begins with `(` (XRANGE). Raises StoreError."""
        command = ("XREVRANGE", EVENTS, "+", start) if newest else ("XRANGE", EVENTS, start, "+")
        entries = await self._retry(lambda: self._execute(*command, "COUNT", count), is_for_one_job=True)
        return list(reversed(entries)) if newest else list(entries)

    async def accept(self, job_id: str) -> None:
        """Put an id into `tinyci:accepted` whose job is on its way, and which somebody removed there."""

        async def attempt() -> None:
            if await self._execute("LPOS", ACCEPTED, job_id) is None:
                await self._execute("LPUSH", ACCEPTED, job_id)

        await self._retry(attempt)

    async def release(self, *job_ids: str) -> None:
        """Remove ids from `tinyci:accepted`: nothing is left of their jobs."""
        await self._retry(lambda: RELEASE.run(self._client, (ACCEPTED,), *job_ids))

    async def line_count(self, job_id: str) -> int:
        """Number of lines in the log of a job."""
        last = await self._retry(
            lambda: self._execute("XREVRANGE", of_log(job_id), "+", "-", "COUNT", 1), is_for_one_job=True
        )
        return int(last[0][0].partition("-")[0]) if last else 0

    async def lines(self, job_id: str, after: int, count: int) -> list[tuple[int, str]]:
        """At most `count` lines of the log of a job, with their numbers, that come after the number `after`."""
        entries = await self._retry(
            lambda: self._execute("XRANGE", of_log(job_id), f"({after}-0", "+", "COUNT", count), is_for_one_job=True
        )
        return [(int(number.partition("-")[0]), values.get("line", "")) for number, values in entries]

    async def add_lines(self, job_id: str, first: int, lines: Sequence[str]) -> None:
        """Add lines, numbered from `first` on; a log begins with 1. The number is the entry's id, so that a line whose
        acknowledgement was lost is not added twice."""

        async def attempt() -> None:
            async with self._client.pipeline(transaction=False) as pipe:
                for number, line in enumerate(lines, first):
                    pipe.execute_command("XADD", of_log(job_id), f"{number}-0", "line", line)
                for reply in await pipe.execute(raise_on_error=False):
                    if isinstance(reply, Exception) and "equal or smaller" not in str(reply):
                        raise reply

        await self._retry(attempt, is_for_one_job=True)
        self._listener.log_grew(job_id)

    async def log_sizes(self, job_ids: Sequence[str]) -> list[int]:
        """Bytes of memory that the logs of these jobs take; 0 for none."""

        async def attempt(part: Sequence[str]) -> list[int]:
            async with self._client.pipeline(transaction=False) as pipe:
                for job_id in part:
                    pipe.execute_command("MEMORY", "USAGE", of_log(job_id))
                return [int(size or 0) for size in await pipe.execute()]

        sizes: list[int] = []
        for start in range(0, len(job_ids), _BATCH):
            part = job_ids[start : start + _BATCH]
            sizes += await self._retry(lambda part=part: attempt(part))  # type: ignore[misc]
        return sizes

    async def drop_logs(self, job_ids: Sequence[str]) -> None:
        """Remove the logs of jobs, which stay with the end of their output."""
        for start in range(0, len(job_ids), _BATCH):
            keys = [of_log(job_id) for job_id in job_ids[start : start + _BATCH]]
            await self._retry(lambda keys=keys: self._execute("UNLINK", *keys))  # type: ignore[misc]

    async def _execute(self, *command: Any) -> Any:
        return await self._client.execute_command(*command)

    async def _retry(self, operation: Callable[[], Awaitable[T]], *, is_for_one_job: bool = False) -> T:
        """Repeat an operation until Redis answers. With `is_for_one_job` a key of another type raises StoreError: it is
        that job's trouble, and not Redis'."""
        backoff = Backoff(*_DELAYS)
        task = asyncio.current_task()
        while True:
            # The library sends with asyncio.wait_for(), which in Python 3.11 swallows a cancellation that comes when
            # the last byte was just sent. Whoever cancels does so once, and waits for us.
            if task and task.cancelling():
                raise asyncio.CancelledError
            try:
                result = await operation()
            except (RedisError, OSError, TimeoutError) as error:
                if is_for_one_job and isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
                    raise _wrong_type_error(error) from None
                if isinstance(error, OutOfMemoryError):
                    self._listener.redis_full()
                if not self._is_away:
                    self._is_away = True
                    self._listener.redis_away(str(error) or type(error).__name__)
                # A server that comes back sends no event to those it has no connection with.
                await backoff.wait()
                continue
            if self._is_away:
                self._is_away = False
                self._listener.redis_back()
            if task and task.cancelling():
                raise asyncio.CancelledError
            return result


def _checked(replies: Sequence[Any]) -> list[Any]:
    """Return replies, with StoreError for a key of a job that has another type. Raises any other error that is one."""
    results = []
    for reply in replies:
        if isinstance(reply, ResponseError) and "WRONGTYPE" in str(reply):
            results.append(_wrong_type_error(reply))
        elif isinstance(reply, Exception):
            raise reply
        else:
            results.append(reply)
    return results


def _wrong_type_error(error: ResponseError) -> StoreError:
    return StoreError(f"Redis has a key of another type where a job belongs: {error}")


def _unflat(pairs: Sequence[str]) -> dict[str, str]:
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def _event(job_id: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The own fields of an entry of `tinyci:events` for a change. With those of the hash it is enough to tell people of
    it, and short, although the hash may be a shell script's and of any size."""
    change = {name: fields[name] for name in ("state", "success", "reason", "attempt") if name in fields}
    event = {"job": job_id, "at": timestamp.now(), **change}
    return {
        name: text if len(text) <= _EVENT_TEXT_MAX else f"{text[: _EVENT_TEXT_MAX - 1]}…"
        for name, text in event.items()
    }
