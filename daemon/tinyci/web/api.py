"""Jobs and repos as JSON."""

from typing import Any

from aiohttp import web

from tinyci.model.text import utf8
from tinyci.store.viewer import StoreViewer
from tinyci.web.jobcache import JobCache
from tinyci.web.jobjson import as_json, with_output
from tinyci.web.joblookup import JobLookup
from tinyci.web.jobview import JobView
from tinyci.web.listing import Query, page
from tinyci.web.parameters import line_number
from tinyci.web.repostatus import RepoStatus, repo_statuses
from tinyci.web.responses import HttpError, json_response, not_found
from tinyci.web.text import iso


class JsonApi:
    """Handlers of requests for JSON."""

    def __init__(self, viewer: StoreViewer, cache: JobCache, lookup: JobLookup) -> None:
        self._viewer = viewer
        self._cache = cache
        self._lookup = lookup

    async def jobs(self, request: web.Request) -> web.Response:
        """Return some jobs, newest first; `next` is the parameter `after` for the jobs that follow."""
        jobs_page = page(await self._cache.jobs(), Query.parse(request.query))
        jobs = [as_json(job) for job in jobs_page.jobs]
        return json_response({"jobs": jobs, "total": jobs_page.total, "next": jobs_page.older})

    async def job(self, request: web.Request) -> web.Response:
        job_id = await self._lookup.job_id(request)
        fields = await self._lookup.fields(job_id)
        return json_response(with_output(JobView(job_id, fields), fields))

    async def output(self, request: web.Request) -> web.Response:
        """Return some lines after a number, as the build printed them; `next` is the number of the last one."""
        job_id = await self._lookup.job_id(request)
        job = JobView(job_id, await self._lookup.fields(job_id))
        after, limit = line_number(request, "after") or 0, line_number(request, "limit")
        if limit is not None and not 1 <= limit <= 5000:
            raise HttpError(400, "limit is no number from 1 to 5000.")
        # In this order: when the state is final, its lines are all there.
        lines = await self._viewer.lines_after(job_id, after, limit or 1000)
        texts = [{"number": number, "text": utf8(line)} for number, line in lines]
        last = lines[-1][0] if lines else after
        return json_response({"id": job.id, "state": job.state, "lines": texts, "next": last})

    async def repos(self, _: web.Request) -> web.Response:
        statuses = repo_statuses(await self._cache.jobs()).values()
        return json_response({"repos": [_repo_json(status) for status in statuses]})

    async def repo(self, request: web.Request) -> web.Response:
        status = repo_statuses(await self._cache.jobs()).get(request.match_info["repo"])
        if status is None:
            raise not_found("No job of such a repo is kept.")
        return json_response(_repo_json(status))


def _repo_json(status: RepoStatus) -> dict[str, Any]:
    job = status.running
    return {
        "repo": status.name,
        "runs": job
        and {
            "job": job.id,
            "ref": job.ref,
            "revision": job.revision,
            "image": job.running_image or job.image,
            "since": iso(job.finished) or None,
        },
        "doubt": status.doubt,
        "live": [as_json(live_job) for live_job in status.live],
        "last": as_json(status.last) if status.last else None,
        "jobs": len(status.jobs),
    }
