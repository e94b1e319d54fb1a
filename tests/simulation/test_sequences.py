"""Sequences of events that broke a promise once; the simulation found them."""

from collections.abc import Iterator

import pytest
from simulatedserver import MAIN, NEXT, SimulatedServer
from tinyci.model.state import FINAL, State


@pytest.fixture
def scene() -> Iterator[SimulatedServer]:
    made = SimulatedServer()
    made.until_ready()
    yield made
    made.close()


def state(scene: SimulatedServer, job_id: str) -> str:
    return scene.memory.hashes[job_id].get("state", "")


def reason(scene: SimulatedServer, job_id: str) -> str:
    return scene.memory.hashes[job_id]["reason"]


# -- push order --------------------------------------------------------------------------------------------------


def test_what_waits_in_the_queue_is_older_than_what_is_in_the_spool(scene: SimulatedServer) -> None:
    scene.kill()
    older = scene.push("web")
    scene.redis()
    newer = scene.push("web")
    scene.redis()
    scene.start()
    scene.until_quiet()
    assert state(scene, older) == State.SUPERSEDED
    scene.check_deployed(newer)


def test_a_late_job_comes_behind_every_older_one_of_its_repo(scene: SimulatedServer) -> None:
    scene.kill()
    scene.push_by_hand("web")  # has no time before it is accepted, and is the newest by that
    older = scene.push("web")
    scene.redis()
    newer = scene.push("web")
    scene.redis()
    scene.start()
    scene.until_quiet()
    assert state(scene, older) == State.SUPERSEDED
    scene.check_deployed(newer)


# -- never two at once -------------------------------------------------------------------------------------------


def test_no_build_begins_beside_one_that_lives_on_behind_a_gate(scene: SimulatedServer) -> None:
    given_up = scene.push("web")
    scene.sleep(1.0)
    scene.gate("daemon")
    scene.sleep(100.0)  # it has failed, and to stop it was given up
    assert state(scene, given_up) == State.FAILED
    newer = scene.push("web")
    scene.sleep(1.0)
    scene.gate("daemon")
    while newer not in [run.job for run in scene.world.runs]:
        scene.loop.sleep(0.1)
        scene.check()
    scene.check()
    scene.until_quiet()
    scene.check_deployed(newer)
    scene.check_ends()


def test_a_build_whose_repo_was_given_to_another_user_is_stopped(scene: SimulatedServer) -> None:
    begun = scene.push("web")
    scene.sleep(1.0)
    scene.reload("web", {"user": "nobody"})
    scene.restart()
    newer = scene.push("web")
    scene.until_quiet()
    assert "the user of the repo was changed from daemon to nobody" in reason(scene, begun)
    scene.check_deployed(newer)
    scene.check_ends()


def test_a_build_whose_repo_was_removed_is_stopped_by_whoever_comes_next(scene: SimulatedServer) -> None:
    begun = scene.push("web")
    scene.sleep(1.0)
    scene.reload("web", {"refs": ()})
    scene.restart()
    scene.until_ready()
    while state(scene, begun) != State.FAILED:
        scene.loop.turn()
    scene.restart()
    scene.until_quiet()
    scene.check_ends()


def test_a_manager_that_is_away_holds_up_nobody_else(scene: SimulatedServer) -> None:
    scene.push("web")
    scene.sleep(1.0)
    scene.gate("daemon")
    scene.sleep(65.0)  # it has failed, and to stop it goes on
    scene.restart()
    other = scene.push("system")
    scene.go_well(10)
    scene.check_deployed(other)


def test_a_rollback_does_not_begin_beside_the_verification(scene: SimulatedServer) -> None:
    first = scene.push("site")
    scene.go_well(10)
    scene.check_deployed(first)
    job_id = scene.push("site")
    scene.sleep(1.0)
    scene.end(0, "succeeded")
    scene.sleep(6.0)
    (verify,) = scene.world.building()
    assert verify.stage == "verify"
    scene.crash("nobody", "site.service", again=False)
    while state(scene, job_id) not in FINAL:
        scene.sleep(0.1)
        scene.check()
        if verify.how:
            scene.world.end_all()
    assert state(scene, job_id) == State.ROLLED_BACK


@pytest.mark.parametrize("turns", range(0, 80, 4))
def test_a_build_that_is_cut_off_when_it_is_taken_up_again_is_another_attempt(
    scene: SimulatedServer, turns: int
) -> None:
    job_id = scene.push("web")
    scene.sleep(1.0)
    scene.restart()
    scene.loop.turn(turns)
    scene.manager("daemon")
    scene.manager("daemon")
    scene.until_quiet()
    builds = [run.attempt for run in scene.world.runs if (run.job, run.stage) == (job_id, "build")]
    assert builds == [1, 2]


def test_a_rollback_that_restarts_its_units_already_is_not_begun_anew(scene: SimulatedServer) -> None:
    scene.push("site")
    scene.go_well(10)
    job_id = scene.push("site")
    scene.sleep(1.0)
    scene.plan("site.service", "fails")
    scene.end(0, "succeeded")
    scene.sleep(6.0)
    scene.plan("site.service", "slow")
    scene.end(0, "succeeded")
    scene.sleep(1.0)
    assert scene.memory.hashes[job_id]["restarting"]
    scene.restart()
    scene.until_quiet()
    assert state(scene, job_id) == State.ROLLED_BACK
    assert [run.stage for run in scene.world.runs if run.job == job_id] == ["build", "rollback", "verify"]


def test_nothing_begins_beside_the_restart_of_a_job_whose_repo_was_given_away_and_back(scene: SimulatedServer) -> None:
    begun = scene.push("web")
    scene.sleep(1.0)
    scene.plan("web.service", "slow")
    scene.end(0, "succeeded")
    scene.sleep(1.0)
    assert state(scene, begun) == State.RESTARTING
    scene.reload("web", {"user": "nobody"})
    scene.restart()
    scene.sleep(1.0)
    scene.reload("web")
    newer = scene.push("web")
    scene.until_quiet()
    assert "the user of the repo was changed from daemon to nobody" in reason(scene, begun)
    scene.check_deployed(newer)


# -- true ends ---------------------------------------------------------------------------------------------------


def test_an_outage_before_a_build_is_not_of_its_time(scene: SimulatedServer) -> None:
    job_id = scene.push("library")
    while not scene.life.dispatch.running:
        scene.loop.turn()
    scene.redis()
    scene.sleep(130.0)
    scene.redis()
    scene.until_quiet()
    scene.check_deployed(job_id)


def test_a_job_whose_repo_has_no_units_any_more_ends_its_restart(scene: SimulatedServer) -> None:
    job_id = scene.push("web")
    scene.sleep(1.0)
    scene.plan("web.service", "slow")
    scene.end(0, "succeeded")
    scene.sleep(1.0)
    assert state(scene, job_id) == State.RESTARTING
    scene.reload("web", {"units": ()})
    scene.restart()
    scene.until_quiet()
    assert state(scene, job_id) == State.SUCCEEDED


def test_a_build_that_is_cancelled_while_its_manager_is_away_is_cancelled(scene: SimulatedServer) -> None:
    job_id = scene.push("web")
    scene.sleep(1.0)
    scene.gate("daemon")
    scene.cancel(job_id)
    scene.sleep(130.0)
    assert state(scene, job_id) == State.CANCELLED
    scene.gate("daemon")
    scene.until_quiet()
    scene.check_ends()


@pytest.mark.parametrize("stage", ["build", "restart", "settle", "verify"])
def test_a_unit_that_its_manager_stops_as_it_shuts_down_has_not_failed(stage: str) -> None:
    scene = SimulatedServer([0, 5, 3])  # the daemon sees units stop before the manager is gone
    scene.until_ready()
    job_id = scene.push("web")
    scene.sleep(1.0)
    if stage != "build":
        scene.plan("web.service", "slow" if stage == "restart" else "well")
        scene.end(0, "succeeded")
        scene.sleep(6.0 if stage == "verify" else 3.0)
    expected = {"build": "building", "restart": "restarting", "settle": "verifying", "verify": "verifying"}
    assert state(scene, job_id) == expected[stage]
    assert [run.stage for run in scene.world.building()] == ([stage] if stage in ("build", "verify") else [])
    manager = scene.world.managers["daemon"]
    manager.shut_down()
    while manager.is_up:
        scene.loop.turn()
        assert state(scene, job_id) == expected[stage]
    manager.start()
    scene.until_quiet()
    scene.check_deployed(job_id)
    builds = [run.attempt for run in scene.world.runs if (run.job, run.stage) == (job_id, "build")]
    assert builds == ([1, 2] if stage == "build" else [1])


def test_a_verification_of_what_is_not_up_yet_after_its_manager_came_anew_does_not_count(
    scene: SimulatedServer,
) -> None:
    job_id = scene.push("site")
    scene.sleep(1.0)
    scene.end(0, "succeeded")
    scene.sleep(6.0)
    (verify,) = scene.world.building()
    assert verify.stage == "verify"
    scene.plan("site.service", "slow")
    scene.manager("nobody")
    scene.manager("nobody")
    scene.sleep(5.0)
    (again,) = scene.world.building()
    assert again.stage == "verify"
    scene.end(0, "succeeded")
    assert again.how == "refused"
    scene.until_quiet()
    scene.check_deployed(job_id)


def test_a_run_of_a_ref_says_what_it_deployed_also_after_it_was_cut_off(scene: SimulatedServer) -> None:
    pushed = scene.push("web")
    scene.go_well(20)
    scene.check_deployed(pushed)
    scene.deploy("web")
    scene.sleep(1.0)
    (build,) = scene.world.building()
    assert build.revision == scene.memory.hashes[build.job]["revision"] == scene.memory.hashes[pushed]["revision"]
    scene.world.tips["web", MAIN] = "b" * 40  # as somebody did on the server
    scene.restart()
    scene.manager("daemon")
    scene.manager("daemon")
    scene.until_quiet()
    fields = scene.memory.hashes[build.job]
    assert (fields["state"], fields["attempt"]) == (State.SUCCEEDED, "2")
    assert fields["revision"] == scene.memory.hashes[pushed]["revision"], "every attempt is of the same one"
    scene.deploy("web")
    scene.until_quiet()
    newest = [fields for job_id, fields in scene.memory.hashes.items() if job_id not in (pushed, build.job)]
    assert [(each["state"], each["revision"]) for each in newest] == [(State.SUCCEEDED, "b" * 40)]


def test_a_run_of_no_ref_is_of_the_one_that_was_deployed_last(scene: SimulatedServer) -> None:
    scene.deploy("web", "")  # says that it has to be named: the repo deploys a pattern
    scene.sleep(1.0)
    scene.push("web", NEXT)
    scene.go_well(20)
    scene.deploy("web", "refs/heads/mian")
    scene.sleep(1.0)
    scene.end(0, "rejected")
    scene.sleep(1.0)
    scene.deploy("web", "")
    scene.until_quiet()
    ended = [(each["ref"], each["state"]) for each in scene.memory.hashes.values()]
    assert ended == [(NEXT, State.SUCCEEDED), ("refs/heads/mian", State.REJECTED), (NEXT, State.SUCCEEDED)]


# -- what is asked at once ---------------------------------------------------------------------------------------


def test_the_end_of_a_pause_is_the_last_word_here_and_in_redis() -> None:
    for pace in ([0], [0, 1], [0, 0, 2], [1, 0]):
        scene = SimulatedServer(pace)
        scene.until_ready()
        scene.pause()
        scene.pause(False)
        job_id = scene.push("web", NEXT)
        scene.until_quiet()
        scene.check_deployed(job_id)
        scene.close()


# -- what is told ------------------------------------------------------------------------------------------------


def test_that_a_job_is_queued_is_told_once_however_often_it_is_accepted(scene: SimulatedServer) -> None:
    scene.pause()
    scene.sleep(1.0)
    job_ids = [scene.push("web"), scene.push("api")]
    scene.push_unheard("site")
    scene.push_by_hand("library")
    for _ in range(3):
        scene.sleep(31.0)
        scene.restart()
        scene.until_ready()
    told = [event for event in scene.memory.events if event[0] in job_ids]
    assert told == [(job_id, State.QUEUED) for job_id in job_ids]
    assert [state for _, state in scene.memory.events] == [State.QUEUED] * 4
    scene.pause(False)
    scene.until_quiet()
    scene.check_ends()
    first = [state for job_id, state in scene.memory.events if job_id == job_ids[0]]
    assert first == ["queued", "building", "restarting", "verifying", "succeeded"]
