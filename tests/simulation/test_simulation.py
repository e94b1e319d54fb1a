"""The promise: every accepted push ends in exactly one true final state, whatever is killed at whatever moment.

The real dispatch, deploys and managers run in a simulated world, in virtual time; Hypothesis looks for a sequence of
events that breaks the promise. `TINYCI_SOAK=N` in the environment tries N sequences.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import just, sampled_from, tuples
from servicemanager import ENDS
from simulatedserver import APPS, MAIN, NEXT, REPOS, USERS, SimulatedServer

repos = sampled_from(list(REPOS))
users = sampled_from(USERS)
refs = sampled_from([MAIN, MAIN, NEXT])
which = st.integers(0, 9)  # of the newest jobs, or of the stages that run
CHANGES = [{}, {}, {"refs": ()}, {"refs": (MAIN,)}, {"units": ()}, *({"user": user} for user in USERS)]

# By what it is about, so that one kind of trouble is not drawn more often than it should be; twice is twice as often.
PUSHES = [tuples(just("push"), repos, refs)]
ODD_PUSHES = [
    tuples(just("push_unheard"), repos, refs),
    tuples(just("push_by_hand"), repos),
    tuples(just("push_what_is_no_job"), sampled_from(["id", "hash", "repo", "ref", "revision", "attempt"])),
    tuples(just("push_again"), which),
]
TIME = [
    tuples(just("sleep"), sampled_from([0.1, 1.0, 6.0, 31.0, 65.0, 130.0])),
    tuples(just("go_well"), st.integers(1, 20)),
]
WORK = [
    tuples(just("end"), which, sampled_from(["succeeded", "succeeded", "succeeded", *ENDS])),
    tuples(just("plan"), sampled_from(APPS), sampled_from(["slow", "fails", "hangs", "hangs long", "dies", "flaps"])),
    tuples(just("plan"), sampled_from(APPS), sampled_from(["slow", "fails", "hangs", "hangs long", "dies", "flaps"])),
    tuples(just("crash"), users, sampled_from(APPS), st.booleans()),
]
DAEMON = [tuples(sampled_from(["kill", "start", "restart", "restart", "terminate"]))]
HOST = [
    tuples(sampled_from(["redis", "redis", "reboot", "mend", "mend"])),
    tuples(sampled_from(["manager", "gate", "drop"]), users),
]
PEOPLE = [
    tuples(sampled_from(["cancel", "cancel", "retry"]), which),
    tuples(sampled_from(["roll_back", "deploy"]), repos),
    tuples(just("pause"), sampled_from([False, False, True])),
    tuples(just("reload"), repos, sampled_from(CHANGES)),
]
events = st.one_of(
    *(st.one_of(kind) for kind in (PUSHES, PUSHES, ODD_PUSHES, TIME, TIME, WORK, WORK, DAEMON, HOST, PEOPLE))
)


class Simulation(RuleBasedStateMachine):
    @initialize(pace=st.lists(st.integers(0, 4), min_size=1, max_size=12))
    def begin(self, pace: list[int]) -> None:
        """`pace`: the turns of the loop that each message takes, again and again."""
        self.scene = SimulatedServer(pace)
        self.is_broken = False

    # One rule for all: of many, Hypothesis leaves out most in any one sequence.
    @rule(event=events, turns=sampled_from([0, 1, 2, 3, 5, 8, 13, 21, 34, 55]))
    def happens(self, event: tuple[Any, ...], turns: int) -> None:
        name, *arguments = event
        if name in ("cancel", "retry", "push_again"):
            if not self.scene.world.pushed:
                return
            arguments = [self.scene.newest(*arguments)]
        getattr(self.scene, name)(*arguments)
        self.scene.loop.turn(turns)

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.is_broken = True
        self.scene.check()
        self.is_broken = False

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self.everything_ends_well()
        finally:
            self.scene.close()

    def everything_ends_well(self) -> None:
        """Once all is mended."""
        scene = self.scene
        scene.mend()
        scene.until_ready()
        scene.pause(False)
        for name in REPOS:
            scene.reload(name)
        scene.until_quiet()
        scene.check_ends()
        scene.check_newest()
        last = [scene.push(name) for name in REPOS]
        scene.until_quiet()
        scene.check_ends()
        for job_id in last:
            scene.check_deployed(job_id)


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(
    max_examples=int(os.environ.get("TINYCI_SOAK", "200")),
    # A normal run looks at the same sequences each time, and a soak at others.
    derandomize="TINYCI_SOAK" not in os.environ,
    stateful_step_count=50,
    print_blob=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
