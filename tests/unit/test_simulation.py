"""The promise: every accepted push ends in exactly one true final state, whatever is killed at whatever moment.

The real dispatch, deploys and managers run in a simulated world, in virtual time; Hypothesis looks for a sequence of
events that breaks the promise. `TINYCI_SOAK=N` in the environment tries N sequences.
"""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from life import Killed, Life
from servicemanager import ENDS
from tinyci.config import Config
from tinyci.dispatch import Repos
from tinyci.job import FINAL, State, stamp
from tinyci.repo import Repo
from tinyci.request import RequestError
from truth import Truth
from virtual import VirtualLoop
from world import World

PARALLEL = 2
CONFIG = Config(redis_socket="", parallel=PARALLEL, log_max=65536, output_max=65536, keep_jobs=1000, keep_age=9e9)
QUIET = 2000.0
"""Seconds within which everything has ended once nothing is broken any more."""


def repo(name: str, user: str, *units: str) -> Repo:
    return Repo(name, f"/srv/{name}.git", user, ("refs/heads/*",), units, "ci-build.sh", 120.0, 60.0, 5.0, "")


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
REFS = ("refs/heads/main", "refs/heads/next")
CHANGES = ("as it was", "removed", "another user", "fewer refs", "fewer units")
MALFORMED = ("not an id", "no hash", "no ref", "no such repo", "another state")

repos = st.sampled_from(list(REPOS))
users = st.sampled_from(USERS)
which = st.integers(0, 99)


class Simulation(RuleBasedStateMachine):
    @initialize(pace=st.lists(st.integers(0, 4), min_size=1, max_size=12))
    def begin(self, pace: list[int]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tinyci-simulation-"))
        self.loop = VirtualLoop()
        self.world = World(self.loop, self.directory, USERS, REPOS, pace)
        self.truth = Truth(self.world, self.deployed_as)
        self.repos = dict(REPOS)
        self.life: Life | None = None
        self.lives = 0
        self.rejected: list[str] = []
        self.is_broken = False
        self.asked: list[tuple[str, object]] = []
        self.start()

    # -- pushes ------------------------------------------------------------------------------------------------

    @rule(name=repos, ref=st.sampled_from(REFS), how=st.sampled_from(["hook", "script", "unacknowledged"]))
    def push(self, name: str, ref: str, how: str) -> None:
        self.pushed(name, ref, how)

    def pushed(self, name: str, ref: str, how: str = "hook") -> str:
        number = len(self.world.pushed) + 1
        job_id, created = f"{number:08x}-0000-0000-0000-000000000000", self.world.time()
        fields = {"repo": name, "ref": ref, "revision": f"{number:040x}", "created": stamp(created)}
        if self.world.memory.up.is_set():
            if how == "script":
                # Without a time nobody can tell it from what came before and after it in the spool: a ref of its own.
                fields["ref"] = "refs/heads/script"
                del fields["created"]
                self.world.memory.push(job_id, fields)
            else:
                self.world.memory.push(job_id, fields, created)
        if not self.world.memory.up.is_set() or how == "unacknowledged":
            fields["created"] = stamp(created)
            self.world.spool(job_id, fields, created)
        self.world.pushed.append(job_id)
        return job_id

    @rule(kind=st.sampled_from(MALFORMED))
    def push_malformed(self, kind: str) -> None:
        if not self.world.memory.up.is_set():
            return
        number = len(self.rejected) + 1
        job_id = f"{number:08x}-ffff-0000-0000-000000000000"
        fields = {"repo": "web", "ref": f"refs/heads/{number}", "revision": "a" * 40}
        if kind == "not an id":
            job_id = f"../{number}"
        elif kind == "no hash":
            fields = {}
        elif kind == "no ref":
            del fields["ref"]
        elif kind == "no such repo":
            fields["repo"] = "unknown"
        else:
            fields["attempt"] = "many"
        self.world.memory.push(job_id, fields)
        self.rejected.append(job_id)

    @precondition(lambda self: self.world.pushed)
    @rule(number=which)
    def push_an_id_again(self, number: int) -> None:
        if self.world.memory.up.is_set():
            job_id = self.a_job(number)
            if job_id in self.world.memory.hashes:
                self.world.memory.push(job_id, {})

    # -- time --------------------------------------------------------------------------------------------------

    @rule(turns=st.integers(1, 60))
    def turn(self, turns: int) -> None:
        self.loop.turn(turns)

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 31.0, 65.0, 130.0]))
    def wait(self, seconds: float) -> None:
        self.loop.sleep(seconds)

    # -- builds and apps ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.building())
    @rule(number=which, how=st.sampled_from(["succeeded", "succeeded", *ENDS]))
    def end(self, number: int, how: str) -> None:
        units = self.world.running_stages()
        if units:
            manager, unit = units[number % len(units)]
            manager.end(unit, how)

    @precondition(lambda self: self.world.building())
    @rule(turns=st.integers(0, 60))
    def succeed(self, turns: int) -> None:
        self.world.end_all()
        self.loop.turn(turns)

    @rule(
        app=st.sampled_from(APPS),
        how=st.sampled_from(["slow", "fails", "hangs", "hangs long", "crashes", "crashes and is restarted"]),
    )
    def plan(self, app: str, how: str) -> None:
        self.world.plans[app] = how

    @rule(user=users, app=st.sampled_from(APPS), again=st.booleans())
    def crash(self, user: str, app: str, again: bool) -> None:
        if unit := self.world.managers[user].units.get(app):
            self.world.managers[user].crash(unit, again)

    # -- what breaks, and is mended ----------------------------------------------------------------------------

    @rule()
    def kill(self) -> None:
        if self.life:
            self.life.kill()
            self.life = None
        else:
            self.start()

    @precondition(lambda self: self.life)
    @rule()
    def kill_and_start(self) -> None:
        self.kill()
        self.start()

    @precondition(lambda self: self.life)
    @rule()
    def terminate(self) -> None:
        assert self.life
        self.life.terminate()
        self.life = None

    @precondition(lambda self: not self.life)
    @rule()
    def start(self) -> None:
        self.lives += 1
        self.life = Life(self.world, CONFIG, Repos(known=dict(self.repos)), self.lives)

    @rule()
    def redis(self) -> None:
        if self.world.memory.up.is_set():
            self.world.memory.crash()
        else:
            self.world.memory.start()

    @rule(user=st.sampled_from(USERS[1:]))
    def manager(self, user: str) -> None:
        manager = self.world.managers[user]
        if manager.is_up:
            manager.stop()
        else:
            manager.start()

    @rule(user=users)
    def gate(self, user: str) -> None:
        manager = self.world.managers[user]
        manager.is_reachable = not manager.is_reachable
        manager.drop()

    @rule(user=users)
    def drop(self, user: str) -> None:
        self.world.managers[user].drop()

    @rule()
    def reboot(self) -> None:
        if self.life:
            self.life.kill()
            self.life = None
        self.world.reboot()
        self.start()

    # -- what people ask ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.life and self.life.is_ready and self.world.pushed)
    @rule(number=which, turns=st.integers(0, 40))
    def cancel(self, number: int, turns: int) -> None:
        assert self.life
        job_id = self.a_job(number)
        self.truth.cancelled.add(job_id)
        self.asked.append((job_id, self.life.ask(lambda dispatch: dispatch.cancel(job_id))))
        self.loop.turn(turns)

    @precondition(lambda self: self.life and self.life.is_ready and self.world.pushed)
    @rule(number=which, turns=st.integers(0, 40))
    def retry(self, number: int, turns: int) -> None:
        assert self.life
        self.life.ask(lambda dispatch: dispatch.retry(self.a_job(number), "somebody"))
        self.loop.turn(turns)

    @precondition(lambda self: self.life and self.life.is_ready)
    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        assert self.life
        self.life.ask(lambda dispatch: dispatch.pause(paused))

    @rule(name=repos, change=st.sampled_from(CHANGES))
    def reload(self, name: str, change: str) -> None:
        one = REPOS[name]
        self.repos[name] = one
        if change == "removed":
            del self.repos[name]
        elif change == "another user":
            self.repos[name] = one._replace(user=USERS[(USERS.index(one.user) + 1) % len(USERS)])
        elif change == "fewer refs":
            self.repos[name] = one._replace(refs=REFS[:1])
        elif change == "fewer units":
            self.repos[name] = one._replace(units=one.units[1:])
        if self.life:
            self.life.dispatch.repos = Repos(known=dict(self.repos))
            self.life.dispatch.wake()

    # -- what is always so -------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.is_broken, was_broken = True, self.is_broken
        if self.life:
            self.life.check()
        assert not self.world.wrong, self.world.wrong
        busy = self.world.busy()
        # By user, since a repo that was given to another one may leave a build behind with a manager that is away.
        assert max(Counter((name, user) for name, user, _ in busy).values(), default=0) <= 1, busy
        # What has ended for tinyci may live on behind a gate that is down, and for a moment after that.
        states = {job_id: fields.get("state") for job_id, fields in self.world.memory.hashes.items()}
        assert len({name for name, _, job_id in busy if states.get(job_id) not in FINAL}) <= PARALLEL, busy
        self.is_broken = was_broken

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self.everything_ends_well()
        finally:
            if self.life:
                self.life.kill()
            self.loop.close()
            shutil.rmtree(self.directory)

    def everything_ends_well(self) -> None:
        self.mend()
        self.until_quiet()
        self.all_is_told_and_nothing_is_left()
        newest = {}
        for job_id in self.world.pushed:
            fields = self.world.memory.hashes[job_id]
            newest[fields["repo"], fields["ref"]] = fields["state"]
        retried = {(h["repo"], h["ref"]) for h in self.world.memory.hashes.values() if "retry_of" in h}
        for key, state in newest.items():
            assert state != State.SUPERSEDED or key in retried, f"the newest push of {key} is superseded"
        last = {name: self.pushed(name, REFS[0]) for name in REPOS}
        self.until_quiet()
        self.all_is_told_and_nothing_is_left()
        for name, job_id in last.items():
            fields = self.world.memory.hashes[job_id]
            assert fields["state"] == State.SUCCEEDED, fields
            assert fields["output"] == f"build of {fields['revision']}\nend: succeeded\n"
            for unit in REPOS[name].units:
                assert self.world.spans[REPOS[name].user, unit][-1].image == fields["revision"]

    def mend(self) -> None:
        self.world.plans.clear()
        if not self.world.memory.up.is_set():
            self.world.memory.start()
        for manager in self.world.managers.values():
            manager.is_reachable = True
            if not manager.is_up:
                manager.start()
        for name in REPOS:
            self.reload(name, "as it was")
        if not self.life:
            self.start()
        life = self.life
        assert life
        self.loop.until(lambda: life.is_ready, QUIET)
        life.ask(lambda dispatch: dispatch.pause(False))

    def until_quiet(self) -> None:
        def is_quiet() -> bool:
            self.nothing_is_wrong()
            self.world.end_all()
            memory, life = self.world.memory, self.life
            assert life
            spooled = any((self.directory / "spool").glob("*.json"))
            busy = memory.queue or memory.accepted or spooled or self.world.busy()
            return not (busy or life.dispatch.queued or life.dispatch.running or life.asks())

        self.loop.until(is_quiet, QUIET)
        self.loop.sleep(31.0)  # what is left to be swept
        assert is_quiet()

    def all_is_told_and_nothing_is_left(self) -> None:
        memory = self.world.memory
        for job_id in (*self.world.pushed, *self.rejected):
            fields = memory.hashes[job_id]
            assert fields.get("state") in FINAL, (job_id, fields)
            assert job_id not in self.rejected or fields["state"] == State.REJECTED, (job_id, fields)
        ends = Counter(job_id for job_id, state in memory.events if state in FINAL)
        assert set(ends.values()) <= {1}, "ended twice"
        assert set(ends) == set(memory.hashes)
        for manager in self.world.managers.values():
            left = [unit for unit in manager.units.values() if unit.name not in APPS]
            assert not left, left
        assert not list((self.directory / "run" / "jobs").iterdir())
        for job_id, task in self.asked:
            if not task.done() or task.cancelled() or isinstance(task.exception(), RequestError | Killed):
                continue
            task.result()
            assert memory.hashes[job_id]["state"] == State.CANCELLED, memory.hashes[job_id]

    # -- small things ------------------------------------------------------------------------------------------

    def a_job(self, number: int) -> str:
        return self.world.pushed[number % len(self.world.pushed)]

    def deployed_as(self, job_id: str) -> Repo | None:
        running = self.life.dispatch.running if self.life else []
        return next((deploy.repo for deploy in running if deploy.job.id == job_id), None)


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(
    max_examples=int(os.environ.get("TINYCI_SOAK", "60")),
    stateful_step_count=60,
    print_blob=True,
    derandomize=False,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
