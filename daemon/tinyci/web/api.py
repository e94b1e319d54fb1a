"""The same as JSON."""

from typing import Any

from aiohttp import web

from tinyci.model.repo import is_name
from tinyci.model.text import utf8
from tinyci.store.viewer import StoreViewer
from tinyci.web.jobcache import JobCache
from tinyci.web.jobjson import as_json, with_output
from tinyci.web.jobview import JobView
from tinyci.web.listing import Query, page
from tinyci.web.pages import Pages, job_fields, number
from tinyci.web.repostatus import RepoStatus, repo_statuses
from tinyci.web.responses import HttpError, json_of, not_found
from tinyci.web.text import iso


class JsonApi:
    """Handlers of requests for JSON."""

    def __init__(self, archive: StoreViewer, shelf: JobCache, pages: Pages) -> None:
        self._archive = archive
        self._shelf = shelf
        self._pages = pages

    async def jobs(self, request: web.Request) -> web.Response:
        """Some jobs, newest first; `next` is what to ask for with `after` to get those that follow."""
        shown = page(await self._shelf.jobs(), Query.parse(request.query))
        return json_of({"jobs": [as_json(job) for job in shown.jobs], "total": shown.total, "next": shown.older})

    async def job(self, request: web.Request) -> web.Response:
        job_id = await self._pages.found(request)
        fields = await job_fields(self._archive, job_id)
        return json_of(with_output(JobView(job_id, fields), fields))

    async def output(self, request: web.Request) -> web.Response:
        """Some lines after a number, as the build printed them; `next` is the number of the last one."""
        job_id = await self._pages.found(request)
        job = JobView(job_id, await job_fields(self._archive, job_id))
        after, limit = number(request, "after") or 0, number(request, "limit")
        if limit is not None and not 1 <= limit <= 5000:
            raise HttpError(400, "limit is no number from 1 to 5000.")
        # In this order: when the state is final, its lines are all there.
        lines = await self._archive.lines_after(job_id, after, limit or 1000)
        told = [{"number": number, "text": utf8(line)} for number, line in lines]
        return json_of({"id": job.id, "state": job.state, "lines": told, "next": lines[-1][0] if lines else after})

    async def repos(self, _: web.Request) -> web.Response:
        return json_of({"repos": [_repo(each) for each in repo_statuses(await self._shelf.jobs()).values()]})

    async def repo(self, request: web.Request) -> web.Response:
        name = request.match_info["repo"]
        found = repo_statuses(await self._shelf.jobs()).get(name) if is_name(name) else None
        if found is None:
            raise not_found("No job of such a repo is kept.")
        return json_of(_repo(found))


def _repo(one: RepoStatus) -> dict[str, Any]:
    runs = one.running
    return {
        "repo": one.name,
        "runs": runs
        and {
            "job": runs.id,
            "ref": runs.ref,
            "revision": runs.revision,
            "image": runs.running_image or runs.image,
            "since": iso(runs.finished) or None,
        },
        "doubt": one.doubt,
        "live": [as_json(job) for job in one.live],
        "last": as_json(one.last) if one.last else None,
        "jobs": len(one.jobs),
    }
