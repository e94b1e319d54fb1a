"""Checks every write to a job against what happened on the simulated host."""

from collections.abc import Callable, Iterator, Mapping

from hostmodel import HostModel, Run
from tinyci.model.repo import Repo
from tinyci.model.state import FINAL, TABLE, State

_FAILED_BUILDS = ("failed", "refused", "oom", "killed")
_REASONS_BESIDE_THE_BUILD = ("manager", "gate", "no repo", "cut off", "was changed from")


class WriteChecker:
    """Adds each write that is not true to the violations of the host."""

    def __init__(self, host: HostModel, repo_of_deploy: Callable[[str], Repo | None]) -> None:
        """`repo_of_deploy`: finds the repo by which the daemon deploys a job now, if it does."""
        self.cancel_requests: set[str] = set()
        """Ids of jobs that somebody asked to cancel."""
        self._host = host
        self._repo_of_deploy = repo_of_deploy
        host.redis.on_write = self._check_write

    def _check_write(self, job_id: str, before: Mapping[str, str], fields: Mapping[str, str]) -> None:
        violations = self._violations(job_id, before, fields)
        self._host.violations.extend(f"job {job_id}: {violation}" for violation in violations)

    def _violations(self, job_id: str, before: Mapping[str, str], fields: Mapping[str, str]) -> Iterator[str]:
        if "state" not in fields:
            if "success" in fields:
                yield "a success without an end"
            return
        old, new = State(before.get("state") or State.QUEUED), State(fields["state"])
        if new is State.QUEUED:
            if before.get("state"):
                yield f"queued when it was {old}"
            return
        if new not in TABLE[old].next:
            yield f"from {old} to {new}"
        if new not in FINAL:
            return
        if fields["success"] != ("true" if new in (State.SUCCEEDED, State.UNCHANGED) else "false"):
            yield f"{new} with another success"
        reason = fields["reason"]
        if bool(reason) != (new is not State.SUCCEEDED):
            yield f"{new}, reason {reason!r}"
        if "internal error" in reason:
            yield reason
        if not self._is_true(job_id, old, new, reason, before):
            yield f"not true: {new} ({reason})"

    def _is_true(self, job_id: str, old: State, new: State, reason: str, before: Mapping[str, str]) -> bool:
        build, rollback = self._last_run(job_id, "build"), self._first_rollback(job_id)
        if new is State.CANCELLED and job_id not in self.cancel_requests:
            return False
        if old is State.QUEUED:
            return not build
        if new is State.SUCCEEDED:
            is_whole = build is not None and build.revision == before["revision"] and int(before["attempt"]) >= 1
            return is_whole and self._was_deployed(job_id, build, build.revision)
        if new is State.UNCHANGED:
            return build is not None and build.result == "unchanged" and build.revision == before["revision"]
        if new is State.ROLLED_BACK:
            images = self._host.images[rollback.user, rollback.repo] if rollback else None
            return images is not None and images.job == job_id and self._was_deployed(job_id, rollback, images.previous)
        if old is not State.BUILDING:
            return build is not None and build.result == "succeeded"
        if new is State.TIMED_OUT:
            repo = self._repo_of_deploy(job_id)
            return repo is not None and (not build or self._host.loop.time() - build.start >= repo.timeout - 1)
        if new is State.REJECTED:
            return build is not None and build.result == "rejected"
        if new is State.FAILED and not any(words in reason for words in _REASONS_BESIDE_THE_BUILD):
            return build is not None and build.result in _FAILED_BUILDS
        return True

    def _was_deployed(self, job_id: str, stage: Run | None, image: str) -> bool:
        """Return whether the stage succeeded, and the units then started from the image, settled and were verified."""
        repo, verify = self._repo_of_deploy(job_id), self._last_run(job_id, "verify")
        if repo is None or stage is None or stage.result != "succeeded":
            return False
        if not repo.units:
            return True
        if verify is None or verify.result != "succeeded" or verify.end < stage.end + repo.settle - 1e-6:
            return False
        return all(self._host.has_settled(stage.user, unit, image, stage.end, repo.settle) for unit in repo.units)

    def _first_rollback(self, job_id: str) -> Run | None:
        """Return the first that succeeded: the next daemon lets it run again, and restarts no unit a second time."""
        runs = [run for run in self._host.runs if (run.job, run.stage, run.result) == (job_id, "rollback", "succeeded")]
        return runs[0] if runs else None

    def _last_run(self, job_id: str, stage: str) -> Run | None:
        runs = [run for run in self._host.runs if (run.job, run.stage) == (job_id, stage)]
        return runs[-1] if runs else None
