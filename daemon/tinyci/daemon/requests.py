"""Requests of people: new jobs that nobody pushed, cancellations, a pause."""

import uuid
from collections.abc import Mapping

from tinyci.api.requests import RequestError
from tinyci.daemon.dispatch import Dispatch
from tinyci.model import rollback
from tinyci.model.job import TIP, Job, JobError
from tinyci.model.repo import Repo
from tinyci.model.state import State
from tinyci.store.writer import StoreError, StoreWriter


class RequestHandler:
    """Carries requests out (api/requests.py). All methods raise RequestError."""

    def __init__(self, store: StoreWriter, dispatch: Dispatch) -> None:
        self._store = store
        self._dispatch = dispatch

    @property
    def paused(self) -> bool:
        return self._dispatch.is_paused

    @property
    def repos(self) -> Mapping[str, Repo]:
        return self._dispatch.repos.by_name

    async def cancel(self, job_id: str) -> None:
        """End a job that waits or builds."""
        await self._dispatch.cancel(job_id)

    async def pause(self, *, paused: bool) -> None:
        """Begin no job any more, or begin them again."""
        await self._dispatch.set_paused(paused=paused)

    async def retry(self, job_id: str, pusher: str) -> str:
        """Add a job for the revision of an ended one; return its id."""
        fields = await self._fields(job_id)
        rollback = {"rollback_to": fields["rollback_to"]} if fields.get("rollback_to") else {}
        return await self._dispatch.add(fields, pusher, {"retry_of": job_id, **rollback})

    async def deploy(self, repo: str, ref: str, pusher: str) -> str:
        """Add a job for the revision that a ref has when its build begins; return its id."""
        configured_repo = self._dispatch.repos.by_name.get(repo)
        if configured_repo is None:
            raise RequestError("NoSuchRepo", self._dispatch.repos.missing_reason(repo))
        if not ref:
            jobs = [job for job in await self._dispatch.kept_jobs() if job.repo == repo and job.state != State.REJECTED]
            refs = [job.ref for job in jobs if configured_repo.deploys(job.ref)]
            ref = refs[-1] if refs else configured_repo.only_ref
        deploys = f"the repo {repo} deploys {' '.join(configured_repo.refs)}"
        if not ref:
            raise RequestError("NoSuchRef", f"{deploys}, and none was deployed yet: say which")
        if not configured_repo.deploys(ref):
            raise RequestError("NoSuchRef", f"{deploys}, not {ref}")
        fields = {"repo": repo, "ref": ref, "revision": TIP}
        try:
            Job.parse(str(uuid.uuid4()), fields)
        except JobError as error:
            raise RequestError("NoSuchRef", str(error)) from None
        return await self._dispatch.add(fields, pusher, {})

    async def rollback(self, repo: str, job_id: str, pusher: str) -> str:
        """Add a job that deploys again what another one deployed; return its id. Without `job_id` that is the one
        before what runs when the job begins."""
        if repo not in self._dispatch.repos.by_name:
            raise RequestError("NoSuchRepo", self._dispatch.repos.missing_reason(repo))
        jobs = await self._dispatch.kept_jobs()
        if not job_id:
            previous = rollback.previous_job(jobs, repo)
            deploys = [deploy.job.id for deploy in self._dispatch.deploys if deploy.repo.name == repo]
            if not previous and not deploys:
                raise RequestError("NoSuchJob", rollback.missing_reason(repo))
            template = await self._fields(previous.id if previous else deploys[0])
            return await self._dispatch.add(template, pusher, {"rollback_to": rollback.PREVIOUS})
        if job_id not in [job.id for job in jobs if (job.repo, job.state) == (repo, State.SUCCEEDED)]:
            raise RequestError("NoSuchJob", f"{job_id} is no kept job of {repo} that succeeded")
        fields = await self._fields(job_id)
        # A rollback is named after the job that it went back to.
        return await self._dispatch.add(fields, pusher, {"rollback_to": fields.get("rollback_to") or job_id})

    async def _fields(self, job_id: str) -> dict[str, str]:
        try:
            fields = await self._store.job(job_id)
        except StoreError:
            fields = {}
        if not fields:
            raise RequestError("NoSuchJob", f"there is no job {job_id}")
        return fields
