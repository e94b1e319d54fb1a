"""The pages that people see."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from aiohttp import web

from tinyci.model.job import is_id
from tinyci.model.repo import is_name
from tinyci.store.viewer import Fields, Line, StoreViewer
from tinyci.web import ansi, badge, jobfacts, trend
from tinyci.web.jobcache import JobCache
from tinyci.web.jobstages import stages
from tinyci.web.jobview import FIELD_NAMES, UNKNOWN, JobView
from tinyci.web.listing import GROUPS, Query, page
from tinyci.web.render import Renderer
from tinyci.web.repostatus import newest, repo_statuses
from tinyci.web.responses import HttpError, not_found

SHOWN_LINES = 2000
"""Lines of output on a page."""
_HISTORY = 25
_AT_A_TIME = 100
OUTPUT = ("output", "unit_output")
_HEX = frozenset("0123456789abcdef-")


class Pages:
    """Handlers of requests for HTML."""

    def __init__(self, archive: StoreViewer, shelf: JobCache, renderer: Renderer) -> None:
        self._archive = archive
        self._shelf = shelf
        self._renderer = renderer

    async def jobs(self, request: web.Request) -> web.Response:
        """The list."""
        query = Query.parse(request.query)
        kept = await self._shelf.jobs()
        shown = page(kept, query)
        repos = sorted({each.job.repo for each in kept if each.job.repo})
        return self._html(
            *(request, "jobs.html"),
            query=query,
            page=shown,
            repos=repos[:500],
            groups=tuple(GROUPS),
            newer=None if shown.newer is None else query.at(shown.newer).text(),
            older=None if shown.older is None else query.at(shown.older).text(),
        )

    async def job(self, request: web.Request) -> web.StreamResponse:
        """One job, with the end of its output, or with some before a line."""
        job_id = await self.found(request)
        if job_id != request.match_info["job"]:
            raise web.HTTPFound(quote(job_id) + (f"?{request.query_string}" if request.query_string else ""))
        fields = await job_fields(self._archive, job_id)
        job = JobView(job_id, fields)
        before = number(request, "before")
        lines = await self._archive.lines_before(job_id, before, SHOWN_LINES)
        tail: Sequence[Line] = ()
        if not lines and before is None:  # its log is gone, or there never was one
            tail = tuple(enumerate(fields.get("output", "").splitlines()[-SHOWN_LINES:], 1))
        shown = []
        for place, (number_, line) in enumerate(lines or tail):
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(0)  # others want an answer too
            shown.append((number_, ansi.spans(line)))
        return self._html(
            *(request, "job.html"),
            job=job,
            facts=jobfacts.facts(job),
            times=jobfacts.times(job),
            stages=stages(job),
            title=job.title,
            lines=shown,
            last=lines[-1][0] if lines else 0,
            earlier=lines[0][0] if lines and lines[0][0] > 1 else None,
            before=before,
            is_tail=bool(tail),
            said=[ansi.spans(line) for line in fields.get("unit_output", "").splitlines()[-SHOWN_LINES:]],
        )

    async def repos(self, request: web.Request) -> web.Response:
        """Where each repo stands."""
        return self._html(request, "repos.html", repos=list(repo_statuses(await self._shelf.jobs()).values()))

    async def repo(self, request: web.Request) -> web.Response:
        """One repo: what runs, what goes on, how long it takes, its history."""
        name = request.match_info["repo"]
        query = replace(Query.parse(request.query, _HISTORY), repo=name, ref="", state="")
        kept = await self._shelf.jobs()
        found = repo_statuses(kept).get(name) if is_name(name) else None
        if found is None:
            raise not_found("No job of such a repo is kept.")
        shown = page(kept, query)
        plain = replace(query, repo="")
        return self._html(
            *(request, "repo.html"),
            repo=found,
            query=query,
            page=shown,
            trend=trend.trend(found.jobs),
            width=trend.WIDTH,
            height=trend.HEIGHT,
            newer=None if shown.newer is None else plain.at(shown.newer).text(_HISTORY),
            older=None if shown.older is None else plain.at(shown.older).text(_HISTORY),
        )

    async def badge(self, request: web.Request) -> web.Response:
        """What came last of a repo, or of one of its refs, as a picture for other pages."""
        name, ref = request.match_info["repo"], request.query.get("ref", "")
        job = newest(await self._shelf.jobs(), name, ref) if is_name(name) else None
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

    async def found(self, request: web.Request) -> str:
        """The whole id of the job that a request names by its beginning. Raises Wrong."""
        named = request.match_info["job"]
        if is_id(named):
            return named
        if not named or len(named) > 36 or not _HEX.issuperset(named):
            raise not_found("There is no such job: expected its id, or the beginning of it.")
        matching = [job_id for job_id in await self._shelf.ids() if job_id.startswith(named) and is_id(job_id)]
        if len(matching) > 1:
            raise HttpError(404, f"{len(matching)} jobs begin with {named}: more of the id is needed.")
        if not matching:
            raise not_found(f"No job that is kept begins with {named}.")
        return matching[0]

    def _html(self, request: web.Request, template: str, **given: Any) -> web.Response:
        text = self._renderer.html(template, request.rel_url.raw_path, **given)
        return web.Response(text=text, content_type="text/html")


async def job_fields(archive: StoreViewer, job_id: str) -> Fields:
    """What there is of a job. Raises Wrong when there is none, or it is none."""
    fields = await archive.job(job_id, (*FIELD_NAMES, *OUTPUT))
    if fields is None:
        raise not_found(f"What Redis has under the key of job {job_id} is no job.")
    if not fields:
        raise not_found(f"There is no job {job_id}, or none any more: ended jobs are kept for a while.")
    return fields


def number(request: web.Request, name: str) -> int | None:
    """A number of a line in a query; None for none. Raises Wrong."""
    given = request.query.get(name, "")
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) < 16):
        raise HttpError(400, f"{name} is no number of a line.")
    return int(given)
