"""What may be written of a job, by what happened in the world."""

from collections.abc import Callable, Mapping

from tinyci.job import FINAL, NEXT, State
from tinyci.repo import Repo
from world import World

_FAILED = ("failed", "refused", "oom", "killed")
_NOT_OF_THE_BUILD = ("manager", "no repo", "cut off", "was changed from")


class Truth:
    """Looks at every write; what is not so goes to `world.wrong`."""

    def __init__(self, world: World, deployed_as: Callable[[str], Repo | None]) -> None:
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
        self._expect(new in NEXT[old], job_id, f"from {old} to {new}")
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
        builds = [run for run in self._world.runs if run.job == job_id and run.stage == "build"]
        how = builds[-1].how if builds else "not begun"
        if new is State.SUCCEEDED:
            return how == "succeeded" and self._is_deployed(job_id, before)
        if new is State.CANCELLED and job_id not in self.cancelled:
            return False
        if old is State.QUEUED:
            return not builds
        if old is not State.BUILDING:
            return how == "succeeded"
        if new is State.TIMED_OUT:
            repo = self._deployed_as(job_id)
            began = max(run.began for run in builds) if builds else 0.0
            return repo is not None and self._world.loop.time() - began >= repo.timeout - 1
        if new is State.REJECTED:
            return how == "rejected"
        if new is State.FAILED and not any(words in reason for words in _NOT_OF_THE_BUILD):
            return how in _FAILED
        return True

    def _is_deployed(self, job_id: str, before: Mapping[str, str]) -> bool:
        run = [run for run in self._world.runs if run.job == job_id and run.stage == "build"][-1]
        repo = self._deployed_as(job_id)
        if repo is None or run.revision != before["revision"] or int(before["attempt"]) < 1:
            return False
        return all(self._world.settled(run.user, unit, run.revision, run.ended, repo.settle) for unit in repo.units)

    def _expect(self, is_so: bool, job_id: str, otherwise: str) -> None:
        if not is_so:
            self._world.wrong.append(f"job {job_id}: {otherwise}")
