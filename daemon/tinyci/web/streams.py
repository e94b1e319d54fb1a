"""Streams: events of jobs as they come, and output as text, however long it is."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from tinyci.store.viewer import StoreViewer
from tinyci.web.events import event
from tinyci.web.followers import Followers, TooManyFollowersError
from tinyci.web.joblookup import JobLookup
from tinyci.web.parameters import last_event, line_number

_EVENT_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
_BUFFER = 16 * 1024
"""Bytes that may wait for a follower in this process, beside those in the kernel."""


class Streams:
    """Handlers of requests for streams."""

    def __init__(self, viewer: StoreViewer, followers: Followers, lookup: JobLookup) -> None:
        self._viewer = viewer
        self._followers = followers
        self._lookup = lookup

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        """Send an event whenever a list of jobs may have changed."""
        return await self._follow(request, "", 0)

    async def job(self, request: web.Request) -> web.StreamResponse:
        """Send the output of a job after a line, and each change of the job, until it has ended."""
        job_id = await self._lookup.job_id(request)
        after = last_event(request)
        if after is None:
            after = line_number(request, "after") or 0
        await self._lookup.fields(job_id)
        return await self._follow(request, job_id, after)

    async def _follow(self, request: web.Request, job_id: str, after: int) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers=_EVENT_HEADERS)
        if self._followers.is_full:
            raise TooManyFollowersError
        response = web.StreamResponse(headers=_EVENT_HEADERS)
        await response.prepare(request)
        transport = request.transport
        if transport is not None:
            transport.set_write_buffer_limits(high=_BUFFER)
        try:
            # Browsers wait so many milliseconds before they come again.
            await response.write(b"retry: 2000\n\n")
            await self._followers.follow(job_id, after, _sender(response))
            await response.write_eof()
        except TooManyFollowersError:  # others came while the answer began
            await response.write(event("trouble", "As many follow jobs as may; this tries again."))
        except (ConnectionError, TimeoutError):
            if transport is not None:
                transport.abort()  # drops the bytes that wait for the follower
        return response

    async def text(self, request: web.Request) -> web.StreamResponse:
        """Send the whole output as text."""
        job_id = await self._lookup.job_id(request)
        fields = await self._lookup.fields(job_id)
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        lines = await self._viewer.lines_after(job_id, 0)
        if not lines or request.method == "HEAD":
            return web.Response(body=_encode(fields.get("output", "").splitlines()), headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        send = _sender(response)
        try:
            while lines:
                await send(_encode([line for _, line in lines]))
                # An outage ends the answer without its end, so that a client can tell.
                lines = await self._viewer.lines_after(job_id, lines[-1][0])
            await response.write_eof()
        except ConnectionError:
            pass
        return response


def _encode(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _sender(response: web.StreamResponse) -> Callable[[bytes], Awaitable[None]]:
    async def send(data: bytes) -> None:
        await response.write(data)
        await response.drain()  # the library itself waits only now and then

    return send
