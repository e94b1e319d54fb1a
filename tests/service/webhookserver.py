"""A web server that messages are posted to. A test has it take them, refuse them or delay its answers."""

import asyncio
import json
from typing import Any

from aiohttp import web
from servers import LIMIT


class WebhookServer:
    """Speaks the protocols of ntfy and of Apprise's json://."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        """The messages that were taken, each with its path and headers."""
        self.arrival_count = 0
        """Messages that came, whether they have an answer or not."""
        self.refusal_count = 0
        self.status = 200
        """Status of each answer; a message is taken with 200 and refused with any other."""
        self.text = "{}"
        """Body of each answer."""
        self.may_answer = asyncio.Event()
        """While it is not set, clients wait."""
        self.may_answer.set()
        self._changed = asyncio.Condition()
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
        self.may_answer.set()
        await self._runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        text = await request.text()
        async with self._changed:
            self.arrival_count += 1
            self._changed.notify_all()
        await self.may_answer.wait()
        async with self._changed:
            if self.status == 200:
                self.records.append({"path": request.path, "headers": dict(request.headers), **json.loads(text)})
            else:
                self.refusal_count += 1
            self._changed.notify_all()
        return web.Response(status=self.status, text=self.text)

    async def wait_for(self, *, messages: int = 0, refusals: int = 0, arrivals: int = 0) -> list[dict[str, Any]]:
        """Wait until that many messages were taken, that many refused, and that many came. Return the records."""

        def is_enough() -> bool:
            counts = (len(self.records), self.refusal_count, self.arrival_count)
            return all(count >= least for count, least in zip(counts, (messages, refusals, arrivals), strict=True))

        async with asyncio.timeout(2 * LIMIT), self._changed:
            await self._changed.wait_for(is_enough)
        return self.records
