"""Sequences of events that once broke a promise; the simulation found them."""

from collections.abc import Mapping

import pytest
from simulatedserver import MAIN, NEXT, SimulatedServer
from tinyci.daemon import dispatch
from tinyci.model.state import FINAL, State


def state(server: SimulatedServer, job_id: str) -> str:
    return server.redis.hashes[job_id].get("state", "")


def reason(server: SimulatedServer, job_id: str) -> str:
    return server.redis.hashes[job_id]["reason"]


# -- push order --------------------------------------------------------------------------------------------------


def test_what_waits_in_the_queue_is_older_than_what_is_in_the_spool(server: SimulatedServer) -> None:
    server.kill()
    older = server.push("web")
    server.toggle_redis()
    newer = server.push("web")
    server.toggle_redis()
    server.start()
    server.wait_quiet()
    assert state(server, older) == State.SUPERSEDED
    server.check_deployed(newer)


def test_a_late_job_comes_behind_every_older_one_of_its_repo(server: SimulatedServer) -> None:
    server.kill()
    server.push_by_hand("web")  # has no time before it is accepted, and is the newest by that
    older = server.push("web")
    server.toggle_redis()
    newer = server.push("web")
    server.toggle_redis()
    server.start()
    server.wait_quiet()
    assert state(server, older) == State.SUPERSEDED
    server.check_deployed(newer)


def test_a_retry_of_an_older_job_keeps_no_newer_push_from_being_deployed(server: SimulatedServer) -> None:
    older = server.push("web")
    server.wait_quiet()
    server.pause()
    server.sleep(1.0)
    newer = server.push("web")
    server.sleep(1.0)
    server.retry(older)
    server.sleep(1.0)
    server.resume()
    server.wait_quiet()
    server.check_final_states()
    ends = [(fields.get("retry_of", ""), fields["state"]) for fields in server.redis.hashes.values()]
    assert ends == [("", State.SUCCEEDED), ("", State.SUCCEEDED), (older, State.SUCCEEDED)]
    assert [run.job for run in server.host.runs if run.stage == "build"][1] == newer


def test_a_rollback_that_waits_for_a_deploy_goes_back_from_that(server: SimulatedServer) -> None:
    for _ in range(2):
        before = server.push("web")
        server.wait_quiet()
    newest = server.push("web")
    server.sleep(1.0)
    server.host.end_stages_well()
    server.sleep(1.0)
    assert state(server, newest) == State.VERIFYING
    server.roll_back("web")
    server.sleep(1.0)
    server.wait_quiet()
    server.check_final_states()
    assert state(server, newest) == State.SUCCEEDED
    (rollback,) = (fields for fields in server.redis.hashes.values() if fields.get("rollback_to"))
    assert (rollback["rollback_to"], rollback["state"]) == (before, State.SUCCEEDED)


def test_a_rollback_from_a_deploy_that_has_gone_back_by_itself_changes_nothing(server: SimulatedServer) -> None:
    for _ in range(2):
        server.push("web")
        server.wait_quiet()
    newest = server.push("web")
    server.sleep(1.0)
    server.host.end_stages_well()
    server.sleep(6.0)
    assert [run.stage for run in server.host.running_stages()] == ["verify"]
    server.roll_back("web")
    server.sleep(1.0)
    server.end_stage(0, "refused")
    server.wait_quiet()
    server.check_final_states()
    assert state(server, newest) == State.ROLLED_BACK
    (asked,) = (job_id for job_id, fields in server.redis.hashes.items() if fields.get("rollback_to"))
    assert state(server, asked) == State.UNCHANGED
    assert f"job {newest} has been rolled back since" in reason(server, asked)


# -- never two at once -------------------------------------------------------------------------------------------


def test_no_build_begins_beside_one_that_lives_on_behind_a_gate(server: SimulatedServer) -> None:
    given_up = server.push("web")
    server.sleep(1.0)
    server.toggle_gate("daemon")
    server.sleep(100.0)  # it has failed, and to stop it was given up
    assert state(server, given_up) == State.FAILED
    newer = server.push("web")
    server.sleep(1.0)
    server.toggle_gate("daemon")
    while newer not in [run.job for run in server.host.runs]:
        server.loop.sleep(0.1)
        server.check()
    server.check()
    server.wait_quiet()
    server.check_deployed(newer)
    server.check_final_states()


def test_a_build_whose_repo_was_given_to_another_user_is_stopped(server: SimulatedServer) -> None:
    older = server.push("web")
    server.sleep(1.0)
    server.reload("web", {"user": "nobody"})
    server.restart()
    newer = server.push("web")
    server.wait_quiet()
    assert "the user of the repo was changed from daemon to nobody" in reason(server, older)
    server.check_deployed(newer)
    server.check_final_states()


def test_a_build_whose_repo_was_removed_is_stopped_by_whoever_comes_next(server: SimulatedServer) -> None:
    job_id = server.push("web")
    server.sleep(1.0)
    server.reload("web", {"refs": ()})
    server.restart()
    server.wait_ready()
    while state(server, job_id) != State.FAILED:
        server.loop.turn()
    server.restart()
    server.wait_quiet()
    server.check_final_states()


def test_a_manager_that_is_away_holds_up_nobody_else(server: SimulatedServer) -> None:
    server.push("web")
    server.sleep(1.0)
    server.toggle_gate("daemon")
    server.sleep(65.0)  # it has failed, and to stop it goes on
    server.restart()
    other = server.push("system")
    server.end_stages_well(10)
    server.check_deployed(other)


def test_a_rollback_does_not_begin_beside_the_verification(server: SimulatedServer) -> None:
    first = server.push("site")
    server.end_stages_well(10)
    server.check_deployed(first)
    job_id = server.push("site")
    server.sleep(1.0)
    server.end_stage(0, "succeeded")
    server.sleep(6.0)
    (verify,) = server.host.running_stages()
    assert verify.stage == "verify"
    server.crash_app("nobody", "site.service")
    while state(server, job_id) not in FINAL:
        server.sleep(0.1)
        server.check()
        if verify.result:
            server.host.end_stages_well()
    assert state(server, job_id) == State.ROLLED_BACK


@pytest.mark.parametrize("turns", range(0, 80, 4))
def test_a_build_that_is_cut_off_when_it_is_taken_up_again_is_another_attempt(
    server: SimulatedServer, turns: int
) -> None:
    job_id = server.push("web")
    server.sleep(1.0)
    server.restart()
    server.loop.turn(turns)
    server.toggle_manager("daemon")
    server.toggle_manager("daemon")
    server.wait_quiet()
    builds = [run.attempt for run in server.host.runs if (run.job, run.stage) == (job_id, "build")]
    assert builds == [1, 2]


def test_a_rollback_that_restarts_its_units_already_is_not_begun_anew(server: SimulatedServer) -> None:
    server.push("site")
    server.end_stages_well(10)
    job_id = server.push("site")
    server.sleep(1.0)
    server.plan_start("site.service", "fails")
    server.end_stage(0, "succeeded")
    server.sleep(6.0)
    server.plan_start("site.service", "slow")
    server.end_stage(0, "succeeded")
    server.sleep(1.0)
    assert server.redis.hashes[job_id]["restarting"]
    server.restart()
    server.wait_quiet()
    assert state(server, job_id) == State.ROLLED_BACK
    assert [run.stage for run in server.host.runs if run.job == job_id] == ["build", "rollback", "verify"]


def test_nothing_begins_beside_the_restart_of_a_job_whose_repo_was_given_away_and_back(server: SimulatedServer) -> None:
    older = server.push("web")
    server.sleep(1.0)
    server.plan_start("web.service", "slow")
    server.end_stage(0, "succeeded")
    server.sleep(1.0)
    assert state(server, older) == State.RESTARTING
    server.reload("web", {"user": "nobody"})
    server.restart()
    server.sleep(1.0)
    server.reload("web")
    newer = server.push("web")
    server.wait_quiet()
    assert "the user of the repo was changed from daemon to nobody" in reason(server, older)
    server.check_deployed(newer)


def test_a_begin_whose_build_was_never_started_is_none_that_was_cut_off(server: SimulatedServer) -> None:
    """The daemon is killed between the write and the start, again and again."""
    job_id = server.push("web")
    for attempt in range(1, 6):
        turns = 0
        while server.redis.hashes.get(job_id, {}).get("attempt") != str(attempt):
            server.loop.turn()
            turns += 1
            if turns % 500 == 0:
                server.sleep(0.1)
        assert not [run for run in server.host.runs if run.job == job_id]
        server.restart()
    server.wait_quiet()
    server.check_deployed(job_id)


# -- true ends ---------------------------------------------------------------------------------------------------


def test_an_outage_before_a_build_is_not_of_its_time(server: SimulatedServer) -> None:
    job_id = server.push("library")
    while not server.daemon.dispatch.deploys:
        server.loop.turn()
    server.toggle_redis()
    server.sleep(130.0)
    server.toggle_redis()
    server.wait_quiet()
    server.check_deployed(job_id)


def test_a_job_whose_repo_has_no_units_any_more_ends_its_restart(server: SimulatedServer) -> None:
    job_id = server.push("web")
    server.sleep(1.0)
    server.plan_start("web.service", "slow")
    server.end_stage(0, "succeeded")
    server.sleep(1.0)
    assert state(server, job_id) == State.RESTARTING
    server.reload("web", {"units": ()})
    server.restart()
    server.wait_quiet()
    assert state(server, job_id) == State.SUCCEEDED


def test_a_build_that_is_cancelled_while_its_manager_is_away_is_cancelled(server: SimulatedServer) -> None:
    job_id = server.push("web")
    server.sleep(1.0)
    server.toggle_gate("daemon")
    server.cancel(job_id)
    server.sleep(130.0)
    assert state(server, job_id) == State.CANCELLED
    server.toggle_gate("daemon")
    server.wait_quiet()
    server.check_final_states()


@pytest.mark.parametrize("stage", ["build", "restart", "settle", "verify"])
def test_a_unit_that_its_manager_stops_as_it_shuts_down_has_not_failed(stage: str) -> None:
    server = SimulatedServer([0, 5, 3])  # the daemon sees units stop before the manager is gone
    server.wait_ready()
    job_id = server.push("web")
    server.sleep(1.0)
    if stage != "build":
        server.plan_start("web.service", "slow" if stage == "restart" else "well")
        server.end_stage(0, "succeeded")
        server.sleep(6.0 if stage == "verify" else 3.0)
    states = {"build": "building", "restart": "restarting", "settle": "verifying", "verify": "verifying"}
    assert state(server, job_id) == states[stage]
    running = {"build": ["build"], "restart": [], "settle": ["verify"], "verify": ["verify"]}
    assert [run.stage for run in server.host.running_stages()] == running[stage]
    manager = server.host.managers["daemon"]
    manager.shut_down()
    while manager.is_up:
        server.loop.turn()
        assert state(server, job_id) == states[stage]
    manager.start()
    server.wait_quiet()
    server.check_deployed(job_id)
    builds = [run.attempt for run in server.host.runs if (run.job, run.stage) == (job_id, "build")]
    assert builds == ([1, 2] if stage == "build" else [1])


def test_a_verification_of_what_is_not_up_yet_after_its_manager_came_anew_does_not_count(
    server: SimulatedServer,
) -> None:
    job_id = server.push("site")
    server.sleep(1.0)
    server.end_stage(0, "succeeded")
    server.sleep(6.0)
    (verify,) = server.host.running_stages()
    assert verify.stage == "verify"
    server.plan_start("site.service", "slow")
    server.toggle_manager("nobody")
    server.toggle_manager("nobody")
    server.sleep(5.5)
    (again,) = server.host.running_stages()
    assert again.stage == "verify"
    server.end_stage(0, "succeeded")
    assert again.result == "refused"
    server.wait_quiet()
    server.check_deployed(job_id)


def test_a_run_of_a_ref_says_what_it_deployed_also_after_it_was_cut_off(server: SimulatedServer) -> None:
    push = server.push("web")
    server.end_stages_well(20)
    server.check_deployed(push)
    server.deploy("web")
    server.sleep(1.0)
    (build,) = server.host.running_stages()
    assert build.revision == server.redis.hashes[build.job]["revision"] == server.redis.hashes[push]["revision"]
    server.host.tips["web", MAIN] = "b" * 40  # as somebody did on the server
    server.restart()
    server.toggle_manager("daemon")
    server.toggle_manager("daemon")
    server.wait_quiet()
    fields = server.redis.hashes[build.job]
    assert (fields["state"], fields["attempt"]) == (State.SUCCEEDED, "2")
    assert fields["revision"] == server.redis.hashes[push]["revision"], "every attempt is of the same one"
    server.deploy("web")
    server.wait_quiet()
    newest = [fields for job_id, fields in server.redis.hashes.items() if job_id not in (push, build.job)]
    assert [(each["state"], each["revision"]) for each in newest] == [(State.SUCCEEDED, "b" * 40)]


def test_a_run_of_no_ref_is_of_the_one_that_was_deployed_last(server: SimulatedServer) -> None:
    server.deploy("web", "")  # says that it has to be named: the repo deploys a pattern
    server.sleep(1.0)
    server.push("web", NEXT)
    server.end_stages_well(20)
    server.deploy("web", "refs/heads/mian")
    server.sleep(1.0)
    server.end_stage(0, "rejected")
    server.sleep(1.0)
    server.deploy("web", "")
    server.wait_quiet()
    ends = [(each["ref"], each["state"]) for each in server.redis.hashes.values()]
    assert ends == [(NEXT, State.SUCCEEDED), ("refs/heads/mian", State.REJECTED), (NEXT, State.SUCCEEDED)]


# -- what is asked at once ---------------------------------------------------------------------------------------


def test_the_end_of_a_pause_is_the_last_word_here_and_in_redis() -> None:
    for pace in ([0], [0, 1], [0, 0, 2], [1, 0]):
        server = SimulatedServer(pace)
        server.wait_ready()
        server.pause()
        server.resume()
        job_id = server.push("web", NEXT)
        server.wait_quiet()
        server.check_deployed(job_id)
        server.close()


# -- what is told ------------------------------------------------------------------------------------------------


def test_that_a_job_is_queued_is_told_once_however_often_it_is_accepted(server: SimulatedServer) -> None:
    server.pause()
    server.sleep(1.0)
    job_ids = [server.push("web"), server.push("api")]
    server.push_without_answer("site")
    server.push_by_hand("library")
    for _ in range(3):
        server.sleep(31.0)
        server.restart()
        server.wait_ready()
    events = [event for event in server.redis.events if event[0] in job_ids]
    assert events == [(job_id, State.QUEUED) for job_id in job_ids]
    assert [state for _, state in server.redis.events] == [State.QUEUED] * 4
    server.resume()
    server.wait_quiet()
    server.check_final_states()
    first = [state for job_id, state in server.redis.events if job_id == job_ids[0]]
    assert first == ["queued", "building", "restarting", "verifying", "succeeded"]


# -- one job's end, and the others -------------------------------------------------------------------------------


def state_or_none(server: SimulatedServer, job_id: str) -> str | None:
    return server.redis.hashes.get(job_id, {}).get("state")


def is_rolling_back(server: SimulatedServer, job_id: str) -> bool:
    """Let stages succeed until the job is being rolled back."""
    if state_or_none(server, job_id) == State.ROLLING_BACK:
        return True
    server.host.end_stages_well()
    return False


def crash_redis_at(server: SimulatedServer, final: State) -> None:
    """Let Redis crash when the first job gets that state, before the daemon hears that it was written."""
    check, crashes = server.redis.on_write, []

    def on_write(job_id: str, fields: Mapping[str, str], changes: Mapping[str, str]) -> None:
        check(job_id, fields, changes)
        if changes.get("state") == final and not crashes:
            crashes.append(job_id)
            server.redis.crash()

    server.redis.on_write = on_write


def test_a_job_may_be_cancelled_while_others_are_superseded(
    server: SimulatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ends wait for Redis however long it is away, and people ask for other ends meanwhile."""
    monkeypatch.setattr(dispatch, "ENDS_AT_ONCE", 1)
    server.toggle_redis()
    first, second, third = (server.push("web") for _ in range(3))
    crash_redis_at(server, State.SUPERSEDED)
    server.toggle_redis()
    server.loop.run_until(lambda: not server.redis.up.is_set(), 60.0, 0.1)
    server.cancel(second)
    server.sleep(5.0)
    server.toggle_redis()
    server.wait_quiet()
    assert [state(server, job) for job in (first, second)] == [State.SUPERSEDED, State.CANCELLED]
    server.check_deployed(third)


def test_a_job_may_be_cancelled_while_another_is_rejected(server: SimulatedServer) -> None:
    server.reload("web", {"refs": ()})
    server.toggle_redis()
    rejected, cancelled = server.push("web"), server.push("api")
    crash_redis_at(server, State.REJECTED)
    server.toggle_redis()
    server.loop.run_until(lambda: not server.redis.up.is_set(), 60.0, 0.1)
    server.cancel(cancelled)
    server.sleep(5.0)
    server.toggle_redis()
    server.wait_quiet()
    assert state(server, rejected) == State.REJECTED
    assert state(server, cancelled) in FINAL


def test_the_reason_of_a_rollback_is_kept_when_its_manager_is_away(server: SimulatedServer) -> None:
    server.plan_start("web.service", "fails")
    job = server.push("web")
    server.loop.run_until(lambda: is_rolling_back(server, job), 600.0, 0.1)
    failure = server.redis.hashes[job]["failure"]
    server.kill()
    server.toggle_gate("daemon")
    server.start()
    server.wait_ready()
    server.loop.run_until(lambda: state(server, job) in FINAL, 600.0)
    assert reason(server, job).startswith(f"{failure}; the rollback failed too: ")


def test_a_file_in_the_spool_that_cannot_be_put_aside_stops_nothing(server: SimulatedServer) -> None:
    spool = server.directory / "spool"
    (spool / "1790000000000000-0001-x.json").write_text("[" * 60_000)
    (spool / "1790000000000000-0002-y.json").write_text("nonsense")
    (spool / "1790000000000000-0002-y.bad").mkdir()
    (spool / "1790000000000000-0002-y.bad" / "full").touch()
    (spool / "1790000000000000-0003-z.json").mkdir()
    job = server.push("web")
    server.end_stages_well(60)
    server.check()
    server.check_deployed(job)


# -- lists that somebody deleted ---------------------------------------------------------------------------------


def test_a_push_whose_queue_was_deleted_ends(server: SimulatedServer) -> None:
    server.kill()
    lost = server.push("web")
    server.redis.queue.clear()
    server.start()
    server.wait_ready()
    server.wait_quiet()
    assert (state(server, lost), "removed from the queue" in reason(server, lost)) == (State.FAILED, True)
    job = server.push("web")
    server.wait_quiet()
    server.check_deployed(job)


def test_a_deploy_whose_id_was_removed_goes_on_after_a_restart(server: SimulatedServer) -> None:
    job = server.push("web")
    server.sleep(1.0)
    server.kill()
    server.redis.accepted.clear()
    server.start()
    server.wait_ready()
    server.wait_quiet()
    server.check_deployed(job)
    server.check_final_states()
