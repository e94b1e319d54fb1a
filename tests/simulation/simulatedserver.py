"""A simulated host with the daemon on it, an event per method, and checks of the promises."""

import asyncio
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
CONFIG = Settings(
    redis_socket="",
    parallel=PARALLEL,
    log_max=65536,
    output_max=65536,
    log_budget=1 << 30,
    keep_jobs=1000,
    keep_age=9e9,
)
QUIET = 2000.0
"""Seconds within which everything ends once nothing is broken."""


def repo(name: str, user: str, *units: str) -> Repo:
    return Repo(
        name,
        repository=f"/srv/{name}.git",
        user=user,
        refs=("refs/heads/*",),
        units=units,
        script="ci-build.sh",
        timeout=120.0,
        restart_timeout=60.0,
        settle=5.0,
        verify_timeout=20.0,
        health="",
        keep_images=3,
    )


# Users that every Debian has: the daemon looks up their uids.
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
        self.directory = Path(tempfile.mkdtemp(prefix="tinyci-simulation-"))
        self.loop = VirtualLoop()
        self.host = HostModel(self.loop, self.directory, USERS, REPOS, pace)
        self.redis = self.host.redis
        self.checker = WriteChecker(self.host, self._repo_of_deploy)
        self.repos = dict(REPOS)
        self.daemon: DaemonProcess | None = None
        self.malformed_jobs: list[str] = []
        """Ids of pushes that are no valid job."""
        self._daemons = 0
        self._cancels: list[tuple[str, object]] = []
        self.start()

    def close(self) -> None:
        self.kill()
        while tasks := asyncio.all_tasks(self.loop):  # of daemons that were killed in the middle of something
            for task in tasks:
                task.cancel()
            self.loop.turn()
        self.loop.close()
        shutil.rmtree(self.directory)

    # -- pushes ------------------------------------------------------------------------------------------------

    def push(self, name: str, ref: str = MAIN, *, is_acknowledged: bool = True) -> str:
        """Push as the hook does. Returns the job's id."""
        job_id, fields = self._new_job(name, ref)
        created = self.host.time()
        fields |= {"created": stamp(created), "moment": str(self.host.moment())}
        if self.redis.up.is_set():
            self.redis.push(job_id, fields, created)
        if not self.redis.up.is_set() or not is_acknowledged:
            self.host.spool_job(job_id, fields, created)
        return job_id

    def push_without_answer(self, name: str, ref: str = MAIN) -> None:
        """Push without Redis's answer, so that the hook keeps the job in the spool as well."""
        self.push(name, ref, is_acknowledged=False)

    def push_by_hand(self, name: str) -> None:
        """Queue a job as a shell script does. Without a time, its place among those in the spool is open: hence its
        own ref."""
        if self.redis.up.is_set():
            self.redis.push(*self._new_job(name, BY_HAND))

    def push_again(self, job_id: str) -> None:
        """Queue an id a second time."""
        if self.redis.up.is_set() and job_id in self.redis.hashes:
            self.redis.push(job_id, {})

    def push_malformed(self, kind: str) -> None:
        if not self.redis.up.is_set():
            return
        number = len(self.malformed_jobs) + 1
        job_id = f"../{number}" if kind == "id" else f"{number:08x}-ffff-0000-0000-000000000000"
        fields = {"repo": "web", "ref": f"refs/heads/{number}", "revision": "a" * 40}
        if kind == "hash":
            fields = {}
        elif kind != "id":
            fields[kind] = "unknown"
        self.redis.push(job_id, fields)
        self.malformed_jobs.append(job_id)

    def set_clock(self, seconds: int) -> None:
        """Set the wall clock, forward or back."""
        self.host.clock_error += seconds

    # -- the daemon --------------------------------------------------------------------------------------------

    def start(self) -> None:
        if not self.daemon:
            self._daemons += 1
            self.daemon = DaemonProcess(self.host, CONFIG, Repos(by_name=dict(self.repos)), self._daemons)

    def kill(self) -> None:
        if self.daemon:
            self.daemon.kill()
            self.daemon = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def terminate(self) -> None:
        if self.daemon:
            self.daemon.terminate()
            self.daemon = None

    def reload(self, name: str, changes: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Reload after a change of a repo's file; without refs, after its removal."""
        self.repos[name] = REPOS[name]._replace(**changes)
        if not self.repos[name].refs:
            del self.repos[name]
        if self.daemon:
            self.daemon.dispatch.configure(self.daemon.dispatch.settings, Repos(by_name=dict(self.repos)))

    def cancel(self, job_id: str) -> None:
        if self.daemon and self.daemon.is_ready:
            self.checker.cancel_requests.add(job_id)
            self._cancels.append((job_id, self.daemon.call(lambda requests: requests.cancel(job_id))))

    def retry(self, job_id: str) -> None:
        if self.daemon and self.daemon.is_ready:
            self.daemon.call(lambda requests: requests.retry(job_id, "somebody"))

    def deploy(self, name: str, ref: str = MAIN) -> None:
        if self.daemon and self.daemon.is_ready:
            self.daemon.call(lambda requests: requests.deploy(name, ref, "somebody"))

    def roll_back(self, name: str) -> None:
        if self.daemon and self.daemon.is_ready:
            self.daemon.call(lambda requests: requests.rollback(name, "", "somebody"))

    def pause(self) -> None:
        if self.daemon and self.daemon.is_ready:
            self.daemon.call(lambda requests: requests.pause(paused=True))

    def resume(self) -> None:
        if self.daemon and self.daemon.is_ready:
            self.daemon.call(lambda requests: requests.pause(paused=False))

    # -- the host ----------------------------------------------------------------------------------------------

    def toggle_redis(self) -> None:
        """Crash or start Redis."""
        if self.redis.up.is_set():
            self.redis.crash()
        else:
            self.redis.start()

    def toggle_manager(self, user: str) -> None:
        """End a user's manager with all its units, at once or step by step, or start it; the system's stays."""
        manager = self.host.managers[user]
        if not manager.is_up:
            manager.start()
        elif user != "root" and not manager.is_stopping:
            (manager.shut_down if self.host.next_number() % 2 else manager.stop)()

    def toggle_gate(self, user: str) -> None:
        """Close or open the gate to a manager; the units live on."""
        manager = self.host.managers[user]
        manager.is_reachable = not manager.is_reachable
        manager.drop_connections()

    def drop_connection(self, user: str) -> None:
        """Lose the connection to a manager; a new one can be made at once."""
        self.host.managers[user].drop_connections()

    def reboot(self) -> None:
        self.kill()
        self.host.reboot()
        self.start()

    def mend(self) -> None:
        """Repair everything."""
        self.host.plans.clear()
        self.redis.start()
        for manager in self.host.managers.values():
            manager.is_reachable = True
            if manager.is_stopping:
                manager.stop()
            if not manager.is_up:
                manager.start()
        self.start()

    def end_stage(self, number: int, how: str) -> None:
        """End one of the stages that run."""
        if stages := self.host.stage_units():
            manager, unit = stages[number % len(stages)]
            manager.end_stage(unit, how)

    def plan_start(self, app: str, how: str) -> None:
        """Set the kind of an app's next start."""
        self.host.plans[app] = how

    def crash_app(self, user: str, app: str) -> None:
        if unit := self.host.managers[user].units.get(app):
            self.host.managers[user].crash_app(unit, again=False)

    def crash_and_restart_app(self, user: str, app: str) -> None:
        """Crash an app that its manager restarts."""
        if unit := self.host.managers[user].units.get(app):
            self.host.managers[user].crash_app(unit, again=True)

    # -- time --------------------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        self.loop.sleep(seconds)

    def end_stages_well(self, seconds: float) -> None:
        """Let time pass in which every stage succeeds within a second."""
        for _ in range(int(seconds)):
            self.host.end_stages_well()
            self.loop.sleep(1.0)

    def wait_ready(self) -> None:
        daemon = self.daemon
        assert daemon
        self.loop.run_until(lambda: daemon.is_ready, QUIET)

    def wait_quiet(self) -> None:
        def is_quiet() -> bool:
            self.check()
            self.host.end_stages_well()
            daemon = self.daemon
            assert daemon
            is_spooled = any((self.directory / "spool").glob("*.json"))
            busy = self.redis.queue or self.redis.accepted or is_spooled or self.host.activities()
            return not (busy or daemon.dispatch.queue_length or daemon.dispatch.deploys or daemon.has_open_calls())

        self.loop.run_until(is_quiet, QUIET)
        self.loop.sleep(31.0)  # for what is swept every half a minute
        assert is_quiet()

    # -- promises ---------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check what must be true at any moment."""
        if self.daemon:
            self.daemon.check()
        assert not self.host.violations, self.host.violations
        busy = self.host.activities()
        # By user: a repo that was given to another user may leave a build behind, on a manager that is away.
        assert max(Counter((name, user) for name, user, _ in busy).values(), default=0) <= 1, busy
        # A build of a job that has ended may live on behind a closed gate, and for a moment after it opens.
        states = {job_id: fields.get("state") for job_id, fields in self.redis.hashes.items()}
        users = Counter(user for _, user in {(name, user) for name, user, job in busy if states.get(job) not in FINAL})
        assert users.total() - len(users) < PARALLEL, busy  # one of each user may deploy besides

    def check_final_states(self) -> None:
        """Check what must be true when all is quiet."""
        for job_id in (*self.host.pushes, *self.malformed_jobs):
            fields = self.redis.hashes[job_id]
            assert fields.get("state") in FINAL, (job_id, fields)
            assert job_id not in self.malformed_jobs or fields["state"] == State.REJECTED, (job_id, fields)
        ends = Counter(job_id for job_id, state in self.redis.events if state in FINAL)
        assert set(ends.values()) <= {1}, "ended twice"
        assert set(ends) == set(self.redis.hashes)
        queued_jobs = Counter(job_id for job_id, state in self.redis.events if state == State.QUEUED)
        assert set(queued_jobs.values()) <= {1}, "queued twice"
        runnable = {job_id for job_id in self.redis.hashes if job_id not in self.malformed_jobs}
        assert runnable <= set(queued_jobs), (
            runnable - set(queued_jobs),
            "a job that can be run began without being queued",
        )
        units = [unit for manager in self.host.managers.values() for unit in manager.units if STAGE.fullmatch(unit)]
        assert not units, units
        assert not list((self.directory / "run" / "jobs").iterdir())
        for job_id, task in self._cancels:
            if not task.done() or task.cancelled() or isinstance(task.exception(), RequestError | KilledError):
                continue
            task.result()
            assert self.redis.hashes[job_id]["state"] == State.CANCELLED, self.redis.hashes[job_id]

    def check_newest_pushes(self) -> None:
        """Check that no newest push of a ref was superseded, except by a request to deploy the tip."""
        newest = {}
        for job_id in self.host.pushes:
            fields = self.redis.hashes[job_id]
            newest[fields["repo"], fields["ref"]] = fields["state"]
        refs_on_request = {
            (each["repo"], each["ref"])
            for job_id, each in self.redis.hashes.items()
            if job_id not in (*self.host.pushes, *self.malformed_jobs)
            and not (each.get("retry_of") or each.get("rollback_to"))
        }
        for key, state in newest.items():
            assert state != State.SUPERSEDED or key in refs_on_request, f"the newest push of {key} is superseded"

    def check_deployed(self, job_id: str) -> None:
        fields = self.redis.hashes[job_id]
        assert fields["state"] == State.SUCCEEDED, fields
        assert fields["output"] == f"build of {fields['revision']}\nend: succeeded\n"
        repo = self.repos[fields["repo"]]
        for unit in repo.units:
            assert self.host.spans[repo.user, unit][-1].image == fields["revision"]

    # -- helpers ------------------------------------------------------------------------------------------

    def recent_job(self, number: int) -> str:
        return self.host.pushes[-1 - number % len(self.host.pushes)]

    def _new_job(self, name: str, ref: str) -> tuple[str, dict[str, str]]:
        number = len(self.host.pushes) + 1
        job_id = f"{number:08x}-0000-0000-0000-000000000000"
        self.host.pushes.append(job_id)
        self.host.tips[name, ref] = f"{number:040x}"
        return job_id, {"repo": name, "ref": ref, "revision": f"{number:040x}"}

    def _repo_of_deploy(self, job_id: str) -> Repo | None:
        running = self.daemon.dispatch.deploys if self.daemon else []
        return next((deploy.repo for deploy in running if deploy.job.id == job_id), None)
