"""A restart that meets systemd's own restart of a unit (Restart=) says nothing of what was deployed."""

from simulatedserver import SimulatedServer
from tinyci.model.state import State


def test_a_good_deploy_is_one_although_systemd_was_about_to_restart_the_unit(server: SimulatedServer) -> None:
    job_id = server.push("api")
    server.plan_start("api.service", "merged")
    server.wait_quiet()
    server.check_deployed(job_id)


def test_a_good_rollback_is_one_although_systemd_was_about_to_restart_the_unit(server: SimulatedServer) -> None:
    good = server.push("api")
    server.wait_quiet()
    server.check_deployed(good)
    bad = server.push("api")
    server.plan_start("api.service", "fails")
    server.sleep(1.0)
    for _ in range(200):
        if server.redis.hashes[bad].get("state") == State.ROLLING_BACK:
            break
        server.host.end_stages_well()
        server.sleep(0.1)
    server.plan_start("api.service", "merged")
    server.wait_quiet()
    assert server.redis.hashes[bad]["state"] == State.ROLLED_BACK, server.redis.hashes[bad]


def test_a_unit_that_falls_again_and_again_is_not_up(server: SimulatedServer) -> None:
    job_id = server.push("api")
    server.plan_start("api.service", "flaps")
    server.wait_quiet()
    assert server.redis.hashes[job_id]["state"] in (State.FAILED, State.ROLLED_BACK)
