"""What people ask for: jobs that nobody pushed, and an end or a rest for those that there are."""

import uuid
from collections.abc import Mapping

from tinyci.api.requests import RequestError
from tinyci.daemon.dispatch import Dispatch
from tinyci.model.job import TIP, Job, JobError
from tinyci.model.repo import Repo
from tinyci.model.state import State
from tinyci.store.writer import StoreError, StoreWriter


class RequestHandler:
    """Carries requests out (request.py). All methods raise RequestError."""

    def __init__(self, store: StoreWriter, dispatch: Dispatch) -> None:
        self._store = store
        self._dispatch = dispatch

    @property
    def paused(self) -> bool:
        return self._dispatch.paused

    @property
    def repos(self) -> Mapping[str, Repo]:
        return self._dispatch.repos.by_name

    async def cancel(self, job_id: str) -> None:
        """End a job that waits or builds."""
        await self._dispatch.cancel(job_id)

    async def pause(self, *, paused: bool) -> None:
        """Begin nothing new, or go on."""
        await self._dispatch.pause(paused=paused)

    async def retry(self, job_id: str, pusher: str) -> str:
        """A new job for the revision of an ended one. Returns its id."""
        values = await self._fields(job_id)
        kept = {"rollback_to": values["rollback_to"]} if values.get("rollback_to") else {}
        return await self._dispatch.add(values, pusher, {"retry_of": job_id, **kept})

    async def deploy(self, repo: str, ref: str, pusher: str) -> str:
        """A new job for what a ref is at when its build begins. Returns its id."""
        known = self._dispatch.repos.by_name.get(repo)
        if known is None:
            raise RequestError("NoSuchRepo", self._dispatch.repos.missing_reason(repo))
        if not ref:
            kept = [job for job in await self._store.kept_jobs() if job.repo == repo and job.state != State.REJECTED]
            used = [job.ref for job in kept if known.deploys(job.ref)]
            ref = used[-1] if used else known.only_ref
        deploys = f"the repo {repo} deploys {' '.join(known.refs)}"
        if not ref:
            raise RequestError("NoSuchRef", f"{deploys}, and none was deployed yet: say which")
        if not known.deploys(ref):
            raise RequestError("NoSuchRef", f"{deploys}, not {ref}")
        like = {"repo": repo, "ref": ref, "revision": TIP}
        try:
            Job.parse(str(uuid.uuid4()), like)
        except JobError as error:
            raise RequestError("NoSuchRef", str(error)) from None
        return await self._dispatch.add(like, pusher, {})

    async def rollback(self, repo: str, job_id: str, pusher: str) -> str:
        """A new job that deploys again what another one deployed. Returns its id."""
        if repo not in self._dispatch.repos.by_name:
            raise RequestError("NoSuchRepo", self._dispatch.repos.missing_reason(repo))
        good = [job for job in await self._store.kept_jobs() if job.repo == repo and job.state == State.SUCCEEDED]
        if not job_id:
            others = [job for job in good if job.image and job.image != good[-1].image]
            if not others:
                raise RequestError("NoSuchJob", f"no kept job of {repo} deployed another image than what runs now")
            job_id = others[-1].id
        elif job_id not in [job.id for job in good]:
            raise RequestError("NoSuchJob", f"{job_id} is no kept job of {repo} that succeeded")
        values = await self._fields(job_id)
        # What a rollback deployed is known by the job that it went back to.
        return await self._dispatch.add(values, pusher, {"rollback_to": values.get("rollback_to") or job_id})

    async def _fields(self, job_id: str) -> dict[str, str]:
        try:
            values = await self._store.job(job_id)
        except StoreError:
            values = {}
        if not values:
            raise RequestError("NoSuchJob", f"there is no job {job_id}")
        return values
