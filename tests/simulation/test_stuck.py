"""Managers that do not do what they are told, and requests at the worst moment: each costs its own job alone, and a
limited time."""

import logging
from collections.abc import Iterator

import pytest
from servicemanager import ServiceManager, Unit
from simulatedserver import SimulatedServer
from tinyci.daemon import build
from tinyci.model.state import FINAL, State
from tinyci.systemd.manager import ManagerDownError


def fields(server: SimulatedServer, job_id: str) -> dict[str, str]:
    """The hash of a job, empty before the daemon has taken it in."""
    return server.redis.hashes.get(job_id, {})


def wait_for_end(server: SimulatedServer, job_id: str, limit: float) -> dict[str, str]:
    server.loop.run_until(lambda: fields(server, job_id).get("state") in FINAL, limit)
    return fields(server, job_id)


@pytest.fixture
def stubborn(server: SimulatedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let the manager of `daemon` take each order to stop something that runs, and stop nothing."""
    stop = ServiceManager._stop_stage

    def take(self: ServiceManager, unit: Unit) -> str:
        if self.user != "daemon" or unit.active == "inactive":
            return stop(self, unit)
        return unit.job if unit.job_type == "stop" else self._queue(unit, "stop")

    with monkeypatch.context() as context:
        context.setattr(ServiceManager, "_stop_stage", take)
        yield context


def test_a_build_that_does_not_stop_ends_its_job_and_lets_others_begin(
    server: SimulatedServer, stubborn: pytest.MonkeyPatch
) -> None:
    job = server.push("web")
    server.sleep(1.0)
    server.cancel(job)
    other = server.push("site")
    assert wait_for_end(server, job, 130.0)["state"] == State.CANCELLED
    server.end_stages_well(20)
    server.check_deployed(other)


def test_nothing_begins_beside_a_build_that_does_not_stop(
    server: SimulatedServer, stubborn: pytest.MonkeyPatch
) -> None:
    """Its repo's next push waits for it, as long as any manager may take, and fails for that reason."""
    first = server.push("web")
    server.sleep(1.0)
    (stubborn_build,) = server.host.running_stages()
    server.cancel(first)
    wait_for_end(server, first, 130.0)
    second = server.push("web")
    end = wait_for_end(server, second, 200.0)
    assert (end["state"], "attempt" in end) == (State.FAILED, False)
    assert end["reason"] == f"the manager of daemon does not stop tinyci-build@{first.replace('-', '')}.service"
    assert not stubborn_build.result
    stubborn.undo()
    third = server.push("web")
    server.end_stages_well(60)
    server.check_deployed(third)


@pytest.mark.parametrize("turns", range(40))
@pytest.mark.parametrize("restarts", [False, True])
def test_a_cancel_as_the_build_ends_is_obeyed_or_refused(
    server: SimulatedServer,
    turns: int,
    restarts: bool,  # noqa: FBT001
) -> None:
    """Also by a daemon that resumes the job: a restart that has begun is not cut off for it."""
    job = server.push("web")
    server.sleep(1.0)
    server.end_stage(0, "succeeded")
    server.loop.turn(turns)
    server.cancel(job)
    if restarts:
        server.loop.run_until(lambda: fields(server, job)["state"] != State.BUILDING, 60.0, 0.0)
        server.restart()
    server.wait_quiet()
    server.check_final_states()
    assert fields(server, job)["state"] == (State.CANCELLED if "intent" in fields(server, job) else State.SUCCEEDED)


def test_a_cancel_that_was_noted_too_late_does_not_end_a_restart(server: SimulatedServer) -> None:
    job = server.push("web")
    server.sleep(1.0)
    server.plan_start("web.service", "slow")
    server.end_stage(0, "succeeded")
    server.sleep(1.0)
    assert fields(server, job)["state"] == State.RESTARTING
    fields(server, job)["intent"] = State.CANCELLED  # as it is there when both are written at the same time
    server.restart()
    server.wait_quiet()
    server.check_deployed(job)


def test_a_job_whose_end_somebody_wrote_is_over_without_a_defect(
    server: SimulatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by the task that records the output, while another waits for the build."""
    job = server.push("web")
    while not server.host.running_stages():
        server.loop.turn()
    assert "invocation_id" not in fields(server, job)
    fields(server, job)["state"] = State.FAILED
    server.end_stages_well(30)
    server.check()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    newer = server.push("web")
    server.end_stages_well(30)
    server.check_deployed(newer)


def test_a_user_who_vanishes_while_a_build_is_recorded_is_named(
    server: SimulatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uid_of(user: str) -> int:
        raise ManagerDownError(f"there is no user {user} on this host")

    monkeypatch.setattr(build, "uid_of", uid_of)
    job = server.push("web")
    end = wait_for_end(server, job, 60.0)
    assert (end["state"], end["reason"]) == (State.FAILED, "there is no user daemon on this host")
