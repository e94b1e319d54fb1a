"""A web server that messages are posted to: it takes them, refuses them, or lets who posts wait, as a test wants it."""

import asyncio
import json
from typing import Any

from aiohttp import web
from servers import LIMIT


class WebhookServer:
    """Speaks what ntfy does, and what Apprise's json:// does."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        """What was posted and taken, with path and headers."""
        self.refused = 0
        self.status = 200
        self.text = "{}"
        """The body of each answer."""
        self.answers = asyncio.Event()
        self.answers.set()
        self._more = asyncio.Condition()
        self.port = 0

    async def __aenter__(self) -> "WebhookServer":
        app = web.Application()
        app.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.answers.set()
        await self._runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        text = await request.text()
        await self.answers.wait()
        async with self._more:
            if self.status == 200:
                self.taken.append({"path": request.path, "headers": dict(request.headers), **json.loads(text)})
            else:
                self.refused += 1
            self._more.notify_all()
        return web.Response(status=self.status, text=self.text)

    async def until(self, taken: int = 0, refused: int = 0) -> list[dict[str, Any]]:
        async with asyncio.timeout(2 * LIMIT), self._more:
            await self._more.wait_for(lambda: len(self.taken) >= taken and self.refused >= refused)
        return self.taken
