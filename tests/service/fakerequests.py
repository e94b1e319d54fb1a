"""A stand-in for the daemon behind org.tinyci1: it notes requests, and has the jobs that tests put into it."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from tinyci.api.jobsource import EventEntry, LogLine
from tinyci.api.requests import RequestError, Requests
from tinyci.model.repo import Repo

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
JOB_PATH = "/org/tinyci1/job/_0d313b1ecca811ec8c5967453021b8a9"
NEW_ID = "11111111-cca8-11ec-8c59-67453021b8a9"
"""Id of each job that a request makes."""
NEW_PATH = "/org/tinyci1/job/_11111111cca811ec8c5967453021b8a9"


class FakeRequests:
    """Carries out all requests of api/requests.py by noting them, and answers what api/jobsource.py reads."""

    def __init__(self) -> None:
        self.paused = False
        self.repos: dict[str, Repo] = {}
        self.calls: list[tuple[object, ...]] = []
        """Name and arguments of each request."""
        self.refusal: RequestError | None = None
        """Raised by all requests."""
        self.hashes: dict[str, dict[str, str]] = {}
        """Of jobs that are not on the bus, by id."""
        self.new_ids: set[str] = set()
        """Of jobs that the hook has added, and that are not accepted yet."""
        self.logs: dict[str, list[str]] = {}
        self.stream: list[EventEntry] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        request = vars(Requests).get(name)
        if not inspect.iscoroutinefunction(request):
            raise AttributeError(f"tinyci.api.requests has no request {name!r}")

        async def carry_out(*arguments: object, **options: object) -> str:
            _, *values = inspect.signature(request).bind(self, *arguments, **options).arguments.values()
            self.note(name, *values)
            return NEW_ID

        return carry_out

    async def pause(self, *, paused: bool) -> None:
        self.note("pause", paused)
        self.paused = paused

    def note(self, *call: object) -> None:
        if self.refusal:
            raise self.refusal
        self.calls.append(call)

    async def job(self, job_id: str) -> dict[str, str]:
        await asyncio.sleep(0)
        return self.hashes.get(job_id, {})

    async def is_new(self, job_id: str) -> bool:
        await asyncio.sleep(0)
        return job_id in self.new_ids

    async def lines(self, job_id: str, after: int, count: int) -> list[LogLine]:
        await asyncio.sleep(0)
        return list(enumerate(self.logs.get(job_id, []), 1))[after : after + count]

    async def events(self, start: str, count: int, *, newest: bool) -> list[EventEntry]:
        await asyncio.sleep(0)
        is_exclusive = start.startswith("(")
        first = _order(start.removeprefix("(")) if start != "-" else (0, 0)
        entries = [
            entry
            for entry in self.stream
            if _order(entry[0]) > first or (_order(entry[0]) == first and not is_exclusive)
        ]
        return entries[-count:] if newest else entries[:count]


def _order(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))
