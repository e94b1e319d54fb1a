"""What may be written of a job, by what happened in the world."""

from collections.abc import Callable, Mapping

from hostmodel import HostModel, Run
from tinyci.model.repo import Repo
from tinyci.model.state import FINAL, TABLE, State

_FAILED = ("failed", "refused", "oom", "killed")
_NOT_OF_THE_BUILD = ("manager", "gate", "no repo", "cut off", "was changed from")


class WriteChecker:
    """Looks at every write; what is not so goes to `world.wrong`."""

    def __init__(self, world: HostModel, deployed_as: Callable[[str], Repo | None]) -> None:
        """`deployed_as`: the repo by which the daemon deploys a job, when it does."""
        self.cancelled: set[str] = set()
        """Jobs of which somebody asked that they be cancelled."""
        self._world = world
        self._deployed_as = deployed_as
        world.memory.on_write = self._written

    def _written(self, job_id: str, before: Mapping[str, str], fields: Mapping[str, str]) -> None:
        if "state" not in fields:
            self._expect("success" not in fields, job_id, "a success without an end")
            return
        old, new = State(before.get("state") or State.QUEUED), State(fields["state"])
        if new is State.QUEUED:
            self._expect(not before.get("state"), job_id, f"queued when it was {old}")
            return
        self._expect(new in TABLE[old].next, job_id, f"from {old} to {new}")
        if new not in FINAL:
            return
        self._expect(
            fields["success"] == ("true" if new is State.SUCCEEDED else "false"), job_id, f"{new} with another success"
        )
        reason = fields["reason"]
        self._expect(bool(reason) == (new is not State.SUCCEEDED), job_id, f"{new}, reason {reason!r}")
        self._expect("internal error" not in reason, job_id, reason)
        self._expect(self._is_true(job_id, old, new, reason, before), job_id, f"not true: {new} ({reason})")

    def _is_true(self, job_id: str, old: State, new: State, reason: str, before: Mapping[str, str]) -> bool:
        build, rollback = self._last(job_id, "build"), self._rollback(job_id)
        if new is State.CANCELLED and job_id not in self.cancelled:
            return False
        if old is State.QUEUED:
            return not build
        if new is State.SUCCEEDED:
            is_whole = build is not None and build.revision == before["revision"] and int(before["attempt"]) >= 1
            return is_whole and self._runs(job_id, build, build.revision)
        if new is State.ROLLED_BACK:
            images = self._world.images[rollback.user, rollback.repo] if rollback else None
            return images is not None and images.job == job_id and self._runs(job_id, rollback, images.before)
        if old is not State.BUILDING:
            return build is not None and build.how == "succeeded"
        if new is State.TIMED_OUT:
            repo = self._deployed_as(job_id)
            return repo is not None and (not build or self._world.loop.time() - build.began >= repo.timeout - 1)
        if new is State.REJECTED:
            return build is not None and build.how == "rejected"
        if new is State.FAILED and not any(words in reason for words in _NOT_OF_THE_BUILD):
            return build is not None and build.how in _FAILED
        return True

    def _runs(self, job_id: str, since: Run | None, image: str) -> bool:
        """Whether a stage did well, and the units of the repo were then started from an image, settled and verified."""
        repo, verify = self._deployed_as(job_id), self._last(job_id, "verify")
        if repo is None or since is None or since.how != "succeeded":
            return False
        if not repo.units:
            return True
        if verify is None or verify.how != "succeeded" or verify.began < since.ended + repo.settle - 1e-6:
            return False
        return all(self._world.settled(since.user, unit, image, since.ended, repo.settle) for unit in repo.units)

    def _rollback(self, job_id: str) -> Run | None:
        """The first good one: a daemon that comes later lets it run again, and restarts no unit a second time."""
        runs = [run for run in self._world.runs if (run.job, run.stage, run.how) == (job_id, "rollback", "succeeded")]
        return runs[0] if runs else None

    def _last(self, job_id: str, stage: str) -> Run | None:
        runs = [run for run in self._world.runs if (run.job, run.stage) == (job_id, stage)]
        return runs[-1] if runs else None

    def _expect(self, is_so: bool, job_id: str, otherwise: str) -> None:
        if not is_so:
            self._world.wrong.append(f"job {job_id}: {otherwise}")
