"""The application: which request is answered by what."""

import time
from contextlib import suppress

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from tinyci.store.viewer import Counts, StoreViewer, ViewerError
from tinyci.web.api import JsonApi
from tinyci.web.assets import Assets
from tinyci.web.jobcache import IndexedJob, JobCache
from tinyci.web.live import Live
from tinyci.web.metrics import Figures
from tinyci.web.pages import Pages
from tinyci.web.render import Renderer
from tinyci.web.responses import Handler, HttpError, add_headers, errors
from tinyci.web.streams import Streams


class Activity:
    """Requests that are being answered, and when the last one was."""

    def __init__(self) -> None:
        self.requests = 0
        self._last = time.monotonic()

    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        try:
            return await handler(request)
        finally:
            self.requests -= 1
            self._last = time.monotonic()

    @property
    def rested(self) -> float:
        """Seconds since the last request; 0 while there is one."""
        return 0.0 if self.requests else time.monotonic() - self._last


def application(archive: StoreViewer, live: Live, activity: Activity) -> web.Application:
    assets = Assets()
    renderer = Renderer(assets)
    shelf = JobCache(archive)
    pages = Pages(archive, shelf, renderer)
    api = JsonApi(archive, shelf, pages)
    streams = Streams(archive, live, pages)

    async def static(request: web.Request) -> web.Response:
        asset = assets.served.get(request.match_info["name"])
        if asset is None:
            raise HttpError(404, "There is no such page.")
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=asset.content, content_type=asset.type, charset="utf-8", headers=headers)

    async def health(_: web.Request) -> web.Response:
        await archive.ping()
        return web.Response(text="Redis answers.\n")

    async def metrics(_: web.Request) -> web.Response:
        kept: list[IndexedJob] | None = None
        counts: Counts | None = None
        with suppress(ViewerError):  # which is a figure too
            kept, counts = await shelf.jobs(), await archive.counts()
        figures = Figures(kept, counts, live.followers, live.followed)
        return web.Response(body=figures.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await activity.count(request, handler)

    app = web.Application(middlewares=[web.middleware(count), errors(renderer)])
    app.on_response_prepare.append(add_headers)  # type: ignore[arg-type]  # as the library itself documents it
    app.add_routes(
        [
            web.get("/", pages.jobs),
            web.get("/events", streams.jobs),
            web.get("/jobs/{job}", pages.job),
            web.get("/jobs/{job}/events", streams.job),
            web.get("/jobs/{job}/output.txt", streams.text),
            web.get("/repos", pages.repos),
            web.get("/repos/{repo}", pages.repo),
            web.get("/repos/{repo}/badge.svg", pages.badge),
            web.get("/api/jobs", api.jobs),
            web.get("/api/jobs/{job}", api.job),
            web.get("/api/jobs/{job}/output", api.output),
            web.get("/api/repos", api.repos),
            web.get("/api/repos/{repo}", api.repo),
            web.get("/metrics", metrics),
            web.get("/static/{name}", static),
            web.get("/healthz", health),
        ]
    )
    return app
