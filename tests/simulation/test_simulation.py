"""The promise: every accepted push ends in exactly one true final state, whatever is killed at whatever moment.

The real dispatch, deploys and connections to managers run on a simulated host, in virtual time; Hypothesis looks for a
sequence of events that breaks the promise. `TINYCI_SOAK=N` in the environment tries N sequences. README.md explains it.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import just, sampled_from, tuples
from servicemanager import STAGE_ENDS
from simulatedserver import APPS, MAIN, NEXT, REPOS, USERS, SimulatedServer

repos = sampled_from(list(REPOS))
users = sampled_from(USERS)
refs = sampled_from([MAIN, MAIN, NEXT])
numbers = st.integers(0, 9)  # of the newest jobs, or of the stages that run
CHANGES = [{}, {}, {"refs": ()}, {"refs": (MAIN,)}, {"units": ()}, *({"user": user} for user in USERS)]
STARTS = ["slow", "fails", "hangs", "hangs long", "dies", "flaps", "merged"]  # of apps, as in servicemanager.py

# Methods of SimulatedServer with arguments. Groups are drawn equally often; one that stands twice, twice as often.
PUSHES = [tuples(just("push"), repos, refs)]
ODD_PUSHES = [
    tuples(just("push_without_answer"), repos, refs),
    tuples(just("push_by_hand"), repos),
    tuples(just("push_malformed"), sampled_from(["id", "hash", "repo", "ref", "revision", "attempt"])),
    tuples(just("push_again"), numbers),
]
TIME = [
    tuples(just("sleep"), sampled_from([0.1, 1.0, 6.0, 31.0, 65.0, 130.0])),
    tuples(just("end_stages_well"), st.integers(1, 20)),
]
WORK = [
    tuples(just("end_stage"), numbers, sampled_from(["succeeded", "succeeded", "succeeded", *STAGE_ENDS])),
    tuples(just("plan_start"), sampled_from(APPS), sampled_from(STARTS)),
    tuples(just("plan_start"), sampled_from(APPS), sampled_from(STARTS)),
    tuples(sampled_from(["crash_app", "crash_and_restart_app"]), users, sampled_from(APPS)),
]
DAEMON = [tuples(sampled_from(["kill", "start", "restart", "restart", "terminate"]))]
HOST = [
    tuples(sampled_from(["toggle_redis", "toggle_redis", "reboot", "mend", "mend"])),
    tuples(sampled_from(["toggle_manager", "toggle_gate", "drop_connection"]), users),
    tuples(just("set_clock"), sampled_from([-7200, -600, 7200])),
]
PEOPLE = [
    tuples(sampled_from(["cancel", "cancel", "retry"]), numbers),
    tuples(sampled_from(["roll_back", "deploy"]), repos),
    tuples(sampled_from(["pause", "resume", "resume"])),
    tuples(just("reload"), repos, sampled_from(CHANGES)),
]
events = st.one_of(
    *(st.one_of(kind) for kind in (PUSHES, PUSHES, ODD_PUSHES, TIME, TIME, WORK, WORK, DAEMON, HOST, PEOPLE))
)


class Simulation(RuleBasedStateMachine):
    @initialize(pace=st.lists(st.integers(0, 4), min_size=1, max_size=12))
    def begin(self, pace: list[int]) -> None:
        """Start a server. `pace`: see HostModel."""
        self.server = SimulatedServer(pace)
        self.has_failed = False

    # One rule for all: of many, Hypothesis leaves out most in any one sequence.
    @rule(event=events, turns=sampled_from([0, 1, 2, 3, 5, 8, 13, 21, 34, 55]))
    def handle(self, event: tuple[Any, ...], turns: int) -> None:
        name, *arguments = event
        if name in ("cancel", "retry", "push_again"):
            if not self.server.host.pushes:
                return
            arguments = [self.server.recent_job(*arguments)]
        getattr(self.server, name)(*arguments)
        self.server.loop.turn(turns)

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.has_failed = True
        self.server.check()
        self.has_failed = False

    def teardown(self) -> None:
        try:
            if not self.has_failed:
                self.everything_ends_well()
        finally:
            self.server.close()

    def everything_ends_well(self) -> None:
        """Repair everything, and expect every push to end and the next ones to be deployed."""
        server = self.server
        server.mend()
        server.wait_ready()
        server.resume()
        for name in REPOS:
            server.reload(name)
        server.wait_quiet()
        server.check_final_states()
        server.check_newest_pushes()
        last = [server.push(name) for name in REPOS]
        server.wait_quiet()
        server.check_final_states()
        for job_id in last:
            server.check_deployed(job_id)


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
