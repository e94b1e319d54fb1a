"""A deploy asks the manager of its user no more than it has to: each question costs the manager and the daemon time."""

from collections import Counter

from simulatedserver import SimulatedServer


def calls_of_one_job(server: SimulatedServer, name: str, user: str) -> Counter[str]:
    """Return the calls of the manager for a job of a repo whose job before was deployed."""
    server.push(name)
    server.wait_quiet()
    manager = server.host.managers[user]
    manager.calls.clear()
    job = server.push(name)
    server.wait_quiet()
    server.check_deployed(job)
    return Counter(manager.calls)


def test_a_build_that_succeeds_is_started_and_cleared_away(server: SimulatedServer) -> None:
    assert calls_of_one_job(server, "library", "nobody") == {"StartUnit": 1, "StopUnit": 1, "ResetFailedUnit": 1}


def test_a_unit_is_looked_at_before_and_after_its_restart_and_watched(server: SimulatedServer) -> None:
    assert calls_of_one_job(server, "api", "daemon") == {
        "StartUnit": 2,
        "LoadUnit": 7,
        "GetAll": 14,
        "RestartUnit": 1,
        "StopUnit": 2,
        "ResetFailedUnit": 3,
    }
