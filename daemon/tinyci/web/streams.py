"""Answers that go on: events of jobs as they come, and output as text, however long it is."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from tinyci.store.viewer import StoreViewer
from tinyci.web.live import Live, TooManyFollowersError, event
from tinyci.web.pages import Pages, job_fields, number
from tinyci.web.responses import HttpError

_EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
_BUFFER = 16 * 1024
"""Bytes that may wait for a follower in this process, beside what the kernel has for him."""


class Streams:
    """Handlers of requests for streams."""

    def __init__(self, archive: StoreViewer, live: Live, pages: Pages) -> None:
        self._archive = archive
        self._live = live
        self._pages = pages

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        """Whenever a list of jobs may be another one."""
        return await self._follow(request, "", 0)

    async def job(self, request: web.Request) -> web.StreamResponse:
        """The output of a job from some line on, and what becomes of the job, until it has ended."""
        job_id = await self._pages.found(request)
        after = _last_event(request)
        await job_fields(self._archive, job_id)
        return await self._follow(request, job_id, after)

    async def _follow(self, request: web.Request, job_id: str, after: int) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers=_EVENTS)
        if self._live.is_full:
            raise TooManyFollowersError
        response = web.StreamResponse(headers=_EVENTS)
        await response.prepare(request)
        transport = request.transport
        if transport is not None:
            transport.set_write_buffer_limits(high=_BUFFER)
        try:
            # Browsers wait so many milliseconds before they come again.
            await response.write(b"retry: 2000\n\n")
            await self._live.follow(job_id, after, _sender(response))
            await response.write_eof()
        except TooManyFollowersError:  # others came while the answer began
            await response.write(event("trouble", "As many follow jobs as may; this tries again."))
        except (ConnectionError, TimeoutError):
            if transport is not None:
                transport.abort()  # what waits for him is dropped
        return response

    async def text(self, request: web.Request) -> web.StreamResponse:
        """The whole output as text."""
        job_id = await self._pages.found(request)
        fields = await job_fields(self._archive, job_id)
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        lines = await self._archive.lines_after(job_id, 0)
        if not lines or request.method == "HEAD":
            return web.Response(body=_encoded(fields.get("output", "").splitlines()), headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        send = _sender(response)
        try:
            while lines:
                await send(_encoded([line for _, line in lines]))
                # An outage ends the answer without its end, so that a client can tell.
                lines = await self._archive.lines_after(job_id, lines[-1][0])
            await response.write_eof()
        except ConnectionError:
            pass
        return response


def _encoded(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _sender(response: web.StreamResponse) -> Callable[[bytes], Awaitable[None]]:
    async def send(data: bytes) -> None:
        await response.write(data)
        await response.drain()  # the library itself waits only now and then

    return send


def _last_event(request: web.Request) -> int:
    given = request.headers.get("Last-Event-ID", "")
    if given.isascii() and given.isdecimal() and len(given) < 16:
        return int(given)
    if given:
        raise HttpError(400, "Last-Event-ID is no number of a line.")
    return number(request, "after") or 0
