"""The activity of the server: requests that are being answered, and the time since the last one."""

import time

from aiohttp import web

from tinyci.web.responses import Handler


class Activity:
    """Counts requests."""

    def __init__(self) -> None:
        self._requests = 0
        self._last = time.monotonic()
        """When the last request was answered."""

    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request with the handler, and count it while that goes on."""
        self._requests += 1
        try:
            return await handler(request)
        finally:
            self._requests -= 1
            self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request was answered; 0 while there is one."""
        return 0.0 if self._requests else time.monotonic() - self._last
