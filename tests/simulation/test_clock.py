"""The wall clock may be set at any moment: no job ends otherwise for it."""

import pytest
from simulatedserver import SimulatedServer
from tinyci.model.state import State

HOUR = 3600


def state(server: SimulatedServer, job_id: str) -> str:
    return server.redis.hashes[job_id].get("state", "")


def push_to_spool(server: SimulatedServer, name: str) -> str:
    server.toggle_redis()
    job_id = server.push(name)
    server.toggle_redis()
    return job_id


@pytest.mark.parametrize("change", [HOUR, -HOUR])
def test_a_build_has_its_time_whatever_is_done_to_the_clock_while_the_daemon_is_away(
    server: SimulatedServer, change: int
) -> None:
    job_id = server.push("web")
    server.sleep(30.0)  # of 120
    server.kill()
    server.set_clock(change)
    server.start()
    server.sleep(80.0)
    assert state(server, job_id) == State.BUILDING
    server.sleep(25.0)
    assert state(server, job_id) == State.TIMED_OUT


def test_a_push_after_the_clock_was_set_back_is_the_newest(server: SimulatedServer) -> None:
    begun = server.push("web")
    server.sleep(1.0)
    server.set_clock(-HOUR)
    newest = push_to_spool(server, "web")
    server.wait_quiet()
    assert state(server, begun) == State.SUCCEEDED
    server.check_deployed(newest)


def test_a_push_after_the_clock_was_set_back_replaces_one_that_waits(server: SimulatedServer) -> None:
    server.pause()
    server.sleep(1.0)
    older = server.push("web")
    server.sleep(1.0)
    server.set_clock(-HOUR)
    newest = push_to_spool(server, "web")
    server.sleep(10.0)  # the spool is looked at every some seconds
    server.resume()
    server.wait_quiet()
    assert state(server, older) == State.SUPERSEDED
    server.check_deployed(newest)


def test_of_two_kept_pushes_the_later_one_is_deployed_although_its_time_is_earlier(server: SimulatedServer) -> None:
    server.kill()
    server.toggle_redis()
    older = server.push("web")
    server.set_clock(-HOUR)
    newest = server.push("web")
    server.toggle_redis()
    server.start()
    server.wait_quiet()
    assert state(server, older) == State.SUPERSEDED
    server.check_deployed(newest)


def test_a_host_whose_clock_begins_in_the_past_deploys_what_is_pushed_to_it(server: SimulatedServer) -> None:
    """As a host without a battery does, until it has asked for the time."""
    begun = server.push("web")
    server.wait_quiet()
    server.set_clock(-1000 * HOUR)
    server.reboot()
    server.wait_ready()
    newest = push_to_spool(server, "web")
    server.wait_quiet()
    assert state(server, begun) == State.SUCCEEDED
    server.check_deployed(newest)


def test_no_text_instead_of_a_time_hides_later_pushes(server: SimulatedServer) -> None:
    for text in ("zzz", "9999-12-31T23:59:59.999999Z"):
        by_hand = server.push("web")
        server.redis.new[by_hand] |= {"created": text, "moment": text}
        server.wait_quiet()
        newest = push_to_spool(server, "web")
        server.wait_quiet()
        server.check_deployed(newest)


def test_durations_are_those_of_the_monotonic_clock(server: SimulatedServer) -> None:
    job_id = server.push("web")
    server.sleep(10.0)
    server.set_clock(HOUR)
    server.wait_quiet()
    server.check_deployed(job_id)
    fields = server.redis.hashes[job_id]
    assert 10.0 <= float(fields["build_duration"]) < 15.0
    assert float(fields["restart_duration"]) < 5.0
    assert float(fields["verify_duration"]) < 15.0


def test_a_rollback_goes_back_from_what_was_deployed_last(server: SimulatedServer) -> None:
    server.set_clock(1000 * HOUR)
    first = server.push("web")
    server.wait_quiet()
    server.set_clock(-1000 * HOUR)
    second = server.push("web")
    server.wait_quiet()
    server.check_deployed(second)
    server.roll_back("web")
    server.wait_quiet()
    (rollback,) = (fields for fields in server.redis.hashes.values() if fields.get("rollback_to"))
    assert rollback["rollback_to"] == first


def test_a_build_whose_manager_tells_late_that_it_has_begun_has_all_its_time(server: SimulatedServer) -> None:
    """On a host that has been up for longer than a build may take."""
    server.sleep(1000.0)
    for manager in server.host.managers.values():
        manager.start_delay = 0.05
    job = server.push("web")
    server.wait_quiet()
    assert server.redis.hashes[job]["state"] == State.SUCCEEDED
