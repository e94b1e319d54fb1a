"""The application: the handler of each address."""

from contextlib import suppress

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from tinyci.store.viewer import Counts, StoreViewer, ViewerError
from tinyci.web.activity import Activity
from tinyci.web.api import JsonApi
from tinyci.web.assets import Assets
from tinyci.web.errors import error_responses
from tinyci.web.followers import Followers
from tinyci.web.hostname import check_host
from tinyci.web.jobcache import IndexedJob, JobCache
from tinyci.web.joblookup import JobLookup
from tinyci.web.metrics import Figures
from tinyci.web.pages import Pages
from tinyci.web.render import Renderer
from tinyci.web.responses import Handler, HttpError, add_headers
from tinyci.web.streams import Streams


def application(viewer: StoreViewer, followers: Followers, activity: Activity, url: str = "") -> web.Application:
    """Return the application. `url`: that of the pages for people, or empty."""
    assets = Assets()
    renderer = Renderer(assets)
    cache = JobCache(viewer)
    lookup = JobLookup(viewer, cache)
    pages = Pages(viewer, cache, lookup, renderer)
    api = JsonApi(viewer, cache, lookup)
    streams = Streams(viewer, followers, lookup)

    async def static(request: web.Request) -> web.Response:
        asset = assets.by_name.get(request.match_info["name"])
        if asset is None:
            raise HttpError(404, "There is no such page.")
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=asset.content, content_type=asset.type, charset="utf-8", headers=headers)

    async def health(_: web.Request) -> web.Response:
        await viewer.ping()
        return web.Response(text="Redis answers.\n")

    async def metrics(_: web.Request) -> web.Response:
        index: list[IndexedJob] | None = None
        counts: Counts | None = None
        with suppress(ViewerError):  # an outage is a figure too
            index, counts = await cache.jobs(), await viewer.counts()
        figures = Figures(index, counts, followers.count, followers.reader_count)
        return web.Response(body=figures.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await activity.count(request, handler)

    app = web.Application(middlewares=[web.middleware(count), error_responses(renderer), check_host(url)])
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
