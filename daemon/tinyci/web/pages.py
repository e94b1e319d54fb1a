"""Pages for people: HTML and badges."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from aiohttp import web

from tinyci.model.repo import is_name
from tinyci.store.viewer import Line, StoreViewer
from tinyci.web import ansi, badge, jobfacts, trend
from tinyci.web.jobcache import JobCache
from tinyci.web.joblookup import JobLookup
from tinyci.web.jobstages import stages
from tinyci.web.jobview import UNKNOWN, JobView
from tinyci.web.listing import GROUPS, Query, page
from tinyci.web.parameters import line_number
from tinyci.web.render import Renderer
from tinyci.web.repostatus import newest, repo_statuses
from tinyci.web.responses import not_found

MAX_LINES = 2000
"""Lines of output on a page."""
_HISTORY = 25
"""Jobs on the page of a repo."""
_AT_A_TIME = 100
"""Lines that are rendered before other requests have their turn."""


class Pages:
    """Handlers of requests for pages."""

    def __init__(self, viewer: StoreViewer, cache: JobCache, lookup: JobLookup, renderer: Renderer) -> None:
        self._viewer = viewer
        self._cache = cache
        self._lookup = lookup
        self._renderer = renderer

    async def jobs(self, request: web.Request) -> web.Response:
        """Show the list of jobs."""
        query = Query.parse(request.query)
        index = await self._cache.jobs()
        jobs_page = page(index, query)
        repos = sorted({entry.job.repo for entry in index if entry.job.repo})
        return self._html(
            request,
            "jobs.html",
            query=query,
            page=jobs_page,
            repos=repos[:500],
            groups=tuple(GROUPS),
            newer=None if jobs_page.newer is None else query.at(jobs_page.newer).text(),
            older=None if jobs_page.older is None else query.at(jobs_page.older).text(),
        )

    async def job(self, request: web.Request) -> web.StreamResponse:
        """Show one job, with the end of its output, or with the lines before a number."""
        job_id = await self._lookup.job_id(request)
        if job_id != request.match_info["job"]:
            raise web.HTTPFound(quote(job_id) + (f"?{request.query_string}" if request.query_string else ""))
        fields = await self._lookup.fields(job_id)
        job = JobView(job_id, fields)
        before = line_number(request, "before")
        lines = await self._viewer.lines_before(job_id, before, MAX_LINES)
        tail: Sequence[Line] = ()
        if not lines and before is None:  # the log is forgotten, or there never was one
            tail = _last_lines(fields.get("output", ""))
        return self._html(
            request,
            "job.html",
            job=job,
            facts=jobfacts.facts(job),
            times=jobfacts.times(job),
            stages=stages(job),
            title=job.title,
            lines=await _render(lines or tail),
            last=lines[-1][0] if lines else 0,
            earlier=lines[0][0] if lines and lines[0][0] > 1 else None,
            before=before,
            is_tail=bool(tail),
            unit_lines=[ansi.spans(line) for _, line in _last_lines(fields.get("unit_output", ""))],
        )

    async def repos(self, request: web.Request) -> web.Response:
        """Show the status of each repo."""
        return self._html(request, "repos.html", repos=list(repo_statuses(await self._cache.jobs()).values()))

    async def repo(self, request: web.Request) -> web.Response:
        """Show one repo: what runs, what goes on, how long deploys take, its history."""
        name = request.match_info["repo"]
        query = replace(Query.parse(request.query, _HISTORY), repo=name, ref="", state="")
        index = await self._cache.jobs()
        status = repo_statuses(index).get(name)
        if status is None:
            raise not_found("No job of such a repo is kept.")
        jobs_page = page(index, query)
        link = replace(query, repo="")
        return self._html(
            request,
            "repo.html",
            repo=status,
            query=query,
            page=jobs_page,
            trend=trend.trend(status.jobs),
            width=trend.WIDTH,
            height=trend.HEIGHT,
            newer=None if jobs_page.newer is None else link.at(jobs_page.newer).text(_HISTORY),
            older=None if jobs_page.older is None else link.at(jobs_page.older).text(_HISTORY),
        )

    async def badge(self, request: web.Request) -> web.Response:
        """Show the last state of a repo, or of one of its refs, as a picture for pages elsewhere."""
        name, ref = request.match_info["repo"], request.query.get("ref", "")
        job = newest(await self._cache.jobs(), name, ref) if is_name(name) else None
        state, kind = (job.state, job.kind) if job else (UNKNOWN, UNKNOWN)
        content = badge.svg(name if is_name(name) else "tinyci", state, kind).encode()
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        # A proxy between may keep it if it asks before it shows it again.
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "cross-origin"}
        if job and tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=content, status=200 if job else 404, content_type="image/svg+xml", charset="utf-8", headers=headers
        )

    def _html(self, request: web.Request, template: str, **values: Any) -> web.Response:
        text = self._renderer.html(template, request.rel_url.raw_path, **values)
        return web.Response(text=text, content_type="text/html")


def _last_lines(text: str) -> list[Line]:
    """The last MAX_LINES lines of a field, numbered from 1."""
    return list(enumerate(text.splitlines()[-MAX_LINES:], 1))


async def _render(lines: Sequence[Line]) -> list[tuple[int, list[ansi.Span]]]:
    numbered_spans = []
    for place, (number, line) in enumerate(lines):
        if place % _AT_A_TIME == 0:
            await asyncio.sleep(0)  # other requests wait too
        numbered_spans.append((number, ansi.spans(line)))
    return numbered_spans
