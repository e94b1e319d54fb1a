"""A simulated host with the daemon on it, and everything that can happen to them."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from daemonprocess import DaemonProcess, KilledError
from hostmodel import HostModel
from servicemanager import STAGE
from tinyci.api.requests import RequestError
from tinyci.model.repo import Repo
from tinyci.model.repos import Repos
from tinyci.model.settings import Settings
from tinyci.model.state import FINAL, State
from tinyci.model.timestamp import stamp
from virtualloop import VirtualLoop
from writechecker import WriteChecker

PARALLEL = 2
CONFIG = Settings(redis_socket="", parallel=PARALLEL, log_max=65536, output_max=65536, keep_jobs=1000, keep_age=9e9)
QUIET = 2000.0
"""Seconds within which everything has ended once nothing is broken any more."""


def repo(name: str, user: str, *units: str) -> Repo:
    return Repo(
        *(name, f"/srv/{name}.git", user, ("refs/heads/*",), units, "ci-build.sh"),
        **{"timeout": 120.0, "restart_timeout": 60.0, "settle": 5.0, "verify_timeout": 20.0},
        **{"health": "", "keep_images": 3},
    )


# Users that are on every host, so that their uids are found.
USERS = ("root", "daemon", "nobody")
REPOS = {
    each.name: each
    for each in (
        repo("web", "daemon", "web.service", "web-worker.service"),
        repo("api", "daemon", "api.service"),
        repo("site", "nobody", "site.service"),
        repo("library", "nobody"),
        repo("system", "root", "system.service"),
    )
}
APPS = [unit for each in REPOS.values() for unit in each.units]
MAIN, NEXT, BY_HAND = "refs/heads/main", "refs/heads/next", "refs/heads/by-hand"


class SimulatedServer:
    def __init__(self, pace: Sequence[int] = (0,)) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tinyci-scene-"))
        self.loop = VirtualLoop()
        self.world = HostModel(self.loop, self.directory, USERS, REPOS, pace)
        self.memory = self.world.memory
        self.truth = WriteChecker(self.world, self._deployed_as)
        self.repos = dict(REPOS)
        self.life: DaemonProcess | None = None
        self.rejected: list[str] = []
        """Ids of what is no job."""
        self._lives = 0
        self._cancels: list[tuple[str, object]] = []
        self.start()

    def close(self) -> None:
        self.kill()
        self.loop.close()
        shutil.rmtree(self.directory)

    # -- pushes ------------------------------------------------------------------------------------------------

    def push(self, name: str, ref: str = MAIN, is_acknowledged: bool = True) -> str:
        """As the hook does. Returns the id."""
        job_id, fields = self._new_job(name, ref)
        created = self.world.time()
        fields["created"] = stamp(created)
        if self.memory.up.is_set():
            self.memory.push(job_id, fields, created)
        if not self.memory.up.is_set() or not is_acknowledged:
            self.world.spool(job_id, fields, created)
        return job_id

    def push_unheard(self, name: str, ref: str = MAIN) -> None:
        """The hook does not hear that Redis has the job, and keeps it in the spool too."""
        self.push(name, ref, is_acknowledged=False)

    def push_by_hand(self, name: str) -> None:
        """As a shell script does, with a ref of its own: without a time nobody can tell such a job from what came
        before and after it in the spool."""
        if self.memory.up.is_set():
            self.memory.push(*self._new_job(name, BY_HAND))

    def push_again(self, job_id: str) -> None:
        """An id that was queued already."""
        if self.memory.up.is_set() and job_id in self.memory.hashes:
            self.memory.push(job_id, {})

    def push_what_is_no_job(self, kind: str) -> None:
        if not self.memory.up.is_set():
            return
        number = len(self.rejected) + 1
        job_id = f"../{number}" if kind == "id" else f"{number:08x}-ffff-0000-0000-000000000000"
        fields = {"repo": "web", "ref": f"refs/heads/{number}", "revision": "a" * 40}
        if kind == "hash":
            fields = {}
        elif kind != "id":
            fields[kind] = "unknown"
        self.memory.push(job_id, fields)
        self.rejected.append(job_id)

    # -- the daemon --------------------------------------------------------------------------------------------

    def start(self) -> None:
        if not self.life:
            self._lives += 1
            self.life = DaemonProcess(self.world, CONFIG, Repos(by_name=dict(self.repos)), self._lives)

    def kill(self) -> None:
        if self.life:
            self.life.kill()
            self.life = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def terminate(self) -> None:
        if self.life:
            self.life.terminate()
            self.life = None

    def reload(self, name: str, changes: Mapping[str, Any] = MappingProxyType({})) -> None:
        """With the file of a repo changed; without refs it is removed."""
        self.repos[name] = REPOS[name]._replace(**changes)
        if not self.repos[name].refs:
            del self.repos[name]
        if self.life:
            self.life.dispatch.repos = Repos(by_name=dict(self.repos))
            self.life.dispatch.wake()

    def cancel(self, job_id: str) -> None:
        if self.life and self.life.is_ready:
            self.truth.cancelled.add(job_id)
            self._cancels.append((job_id, self.life.ask(lambda desk: desk.cancel(job_id))))

    def retry(self, job_id: str) -> None:
        if self.life and self.life.is_ready:
            self.life.ask(lambda desk: desk.retry(job_id, "somebody"))

    def deploy(self, name: str, ref: str = MAIN) -> None:
        if self.life and self.life.is_ready:
            self.life.ask(lambda desk: desk.deploy(name, ref, "somebody"))

    def roll_back(self, name: str) -> None:
        if self.life and self.life.is_ready:
            self.life.ask(lambda desk: desk.rollback(name, "", "somebody"))

    def pause(self, paused: bool = True) -> None:
        if self.life and self.life.is_ready:
            self.life.ask(lambda desk: desk.pause(paused=paused))

    # -- the host ----------------------------------------------------------------------------------------------

    def redis(self) -> None:
        """It goes, or it comes."""
        if self.memory.up.is_set():
            self.memory.crash()
        else:
            self.memory.start()

    def manager(self, user: str) -> None:
        """It goes, at once or by and by, with all its units, or it comes; the system's manager stays."""
        manager = self.world.managers[user]
        if not manager.is_up:
            manager.start()
        elif user != "root" and not manager.is_stopping:
            (manager.shut_down if self.world.number() % 2 else manager.stop)()

    def gate(self, user: str) -> None:
        """It goes, or it comes; the units live on."""
        manager = self.world.managers[user]
        manager.is_reachable = not manager.is_reachable
        manager.drop()

    def drop(self, user: str) -> None:
        """The connection is lost, and can be had again at once."""
        self.world.managers[user].drop()

    def reboot(self) -> None:
        self.kill()
        self.world.reboot()
        self.start()

    def mend(self) -> None:
        """Nothing is broken any more, and nothing will be."""
        self.world.plans.clear()
        self.memory.start()
        for manager in self.world.managers.values():
            manager.is_reachable = True
            if manager.is_stopping:
                manager.stop()
            if not manager.is_up:
                manager.start()
        self.start()

    def end(self, number: int, how: str) -> None:
        """One of the stages that run comes to an end."""
        if stages := self.world.running_stages():
            manager, unit = stages[number % len(stages)]
            manager.end(unit, how)

    def plan(self, app: str, how: str) -> None:
        """How the next start of an app will go."""
        self.world.plans[app] = how

    def crash(self, user: str, app: str, again: bool) -> None:
        if unit := self.world.managers[user].units.get(app):
            self.world.managers[user].crash(unit, again)

    # -- time --------------------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        self.loop.sleep(seconds)

    def go_well(self, seconds: float) -> None:
        """Builds that run end with success."""
        for _ in range(int(seconds)):
            self.world.end_all()
            self.loop.sleep(1.0)

    def until_ready(self) -> None:
        life = self.life
        assert life
        self.loop.until(lambda: life.is_ready, QUIET)

    def until_quiet(self) -> None:
        def is_quiet() -> bool:
            self.check()
            self.world.end_all()
            life = self.life
            assert life
            spooled = any((self.directory / "spool").glob("*.json"))
            busy = self.memory.queue or self.memory.accepted or spooled or self.world.busy()
            return not (busy or life.dispatch.queued or life.dispatch.running or life.asks())

        self.loop.until(is_quiet, QUIET)
        self.loop.sleep(31.0)  # what is swept now and then
        assert is_quiet()

    # -- what must be so ---------------------------------------------------------------------------------------

    def check(self) -> None:
        """At any moment."""
        if self.life:
            self.life.check()
        assert not self.world.wrong, self.world.wrong
        busy = self.world.busy()
        # By user, since a repo that was given to another one may leave a build behind with a manager that is away.
        assert max(Counter((name, user) for name, user, _ in busy).values(), default=0) <= 1, busy
        # What has ended for tinyci may live on behind a gate that is down, and for a moment after that.
        states = {job_id: fields.get("state") for job_id, fields in self.memory.hashes.items()}
        assert len({name for name, _, job_id in busy if states.get(job_id) not in FINAL}) <= PARALLEL, busy

    def check_ends(self) -> None:
        """When all is quiet."""
        for job_id in (*self.world.pushed, *self.rejected):
            fields = self.memory.hashes[job_id]
            assert fields.get("state") in FINAL, (job_id, fields)
            assert job_id not in self.rejected or fields["state"] == State.REJECTED, (job_id, fields)
        ends = Counter(job_id for job_id, state in self.memory.events if state in FINAL)
        assert set(ends.values()) <= {1}, "ended twice"
        assert set(ends) == set(self.memory.hashes)
        queued = Counter(job_id for job_id, state in self.memory.events if state == State.QUEUED)
        assert set(queued.values()) <= {1}, "queued twice"
        runnable = {job_id for job_id in self.memory.hashes if job_id not in self.rejected}
        assert runnable <= set(queued), (runnable - set(queued), "a job that can be run began without being queued")
        left = [unit for manager in self.world.managers.values() for unit in manager.units if STAGE.fullmatch(unit)]
        assert not left, left
        assert not list((self.directory / "run" / "jobs").iterdir())
        for job_id, task in self._cancels:
            if not task.done() or task.cancelled() or isinstance(task.exception(), RequestError | KilledError):
                continue
            task.result()
            assert self.memory.hashes[job_id]["state"] == State.CANCELLED, self.memory.hashes[job_id]

    def check_newest(self) -> None:
        """No newest push of a ref was superseded, but by what somebody asked for."""
        newest = {}
        for job_id in self.world.pushed:
            fields = self.memory.hashes[job_id]
            newest[fields["repo"], fields["ref"]] = fields["state"]
        asked = {
            (each["repo"], each["ref"])
            for job_id, each in self.memory.hashes.items()
            if job_id not in (*self.world.pushed, *self.rejected)
        }
        for key, state in newest.items():
            assert state != State.SUPERSEDED or key in asked, f"the newest push of {key} is superseded"

    def check_deployed(self, job_id: str) -> None:
        fields = self.memory.hashes[job_id]
        assert fields["state"] == State.SUCCEEDED, fields
        assert fields["output"] == f"build of {fields['revision']}\nend: succeeded\n"
        repo = self.repos[fields["repo"]]
        for unit in repo.units:
            assert self.world.spans[repo.user, unit][-1].image == fields["revision"]

    # -- small things ------------------------------------------------------------------------------------------

    def newest(self, number: int) -> str:
        return self.world.pushed[-1 - number % len(self.world.pushed)]

    def _new_job(self, name: str, ref: str) -> tuple[str, dict[str, str]]:
        number = len(self.world.pushed) + 1
        job_id = f"{number:08x}-0000-0000-0000-000000000000"
        self.world.pushed.append(job_id)
        self.world.tips[name, ref] = f"{number:040x}"
        return job_id, {"repo": name, "ref": ref, "revision": f"{number:040x}"}

    def _deployed_as(self, job_id: str) -> Repo | None:
        running = self.life.dispatch.running if self.life else []
        return next((deploy.repo for deploy in running if deploy.job.id == job_id), None)
