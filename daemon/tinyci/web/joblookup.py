"""The look-up of the job that a request names, for HTML, JSON and streams alike."""

from aiohttp import web

from tinyci.model.job import is_id
from tinyci.store.viewer import Fields, StoreViewer
from tinyci.web.jobcache import JobCache
from tinyci.web.jobview import FIELD_NAMES
from tinyci.web.responses import HttpError, not_found

_OUTPUT = ("output", "unit_output")
_ID_CHARACTERS = frozenset("0123456789abcdef-")


class JobLookup:
    """Finds jobs by their ids. Methods raise HttpError for jobs that are not there."""

    def __init__(self, viewer: StoreViewer, cache: JobCache) -> None:
        self._viewer = viewer
        self._cache = cache

    async def job_id(self, request: web.Request) -> str:
        """The whole id of the job that a request names by the beginning of it."""
        name = request.match_info["job"]
        if is_id(name):
            return name
        if not name or len(name) > 36 or not _ID_CHARACTERS.issuperset(name):
            raise not_found("There is no such job: expected its id, or the beginning of it.")
        matches = [job_id for job_id in await self._cache.ids() if job_id.startswith(name) and is_id(job_id)]
        if len(matches) > 1:
            raise HttpError(404, f"{len(matches)} jobs begin with {name}: more of the id is needed.")
        if not matches:
            raise not_found(f"No job that is kept begins with {name}.")
        return matches[0]

    async def fields(self, job_id: str) -> Fields:
        """The fields of a job's hash that pages show, the end of its output included."""
        fields = await self._viewer.job(job_id, (*FIELD_NAMES, *_OUTPUT))
        if fields is None:
            raise not_found(f"What Redis has under the key of job {job_id} is no job.")
        if not fields:
            raise not_found(f"There is no job {job_id}, or none any more: ended jobs are kept for a while.")
        return fields
