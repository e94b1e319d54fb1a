"""A deploy that is cut off in any stage after its build ends as it would have: well, or where it was before."""

from collections.abc import Callable

import pytest
from app import App
from testhost import TestHost


def killed(server: TestHost) -> None:
    server.kill("tinyci")


def rebooted(server: TestHost) -> None:
    server.host("reboot", server.name)


@pytest.mark.parametrize("cut", [killed, rebooted], ids=lambda cut: cut.__name__)
def test_a_rollback_that_is_cut_off_is_brought_to_its_end(app: App, cut: Callable[[TestHost], None]) -> None:
    server = app.server
    with server.repo_file(app.name, settle='"3s"'):
        image = app.deploy_good()
        app.commit({"www/index.html": "bad\n"}, command="echo this is why; exit 1")
        job = server.push(app.work).job
        server.wait(job, ("rolling-back",))
        cut(server)
        outcome = server.wait(job, limit=120)
    assert (outcome["state"], outcome["success"], outcome["attempt"]) == ("rolled-back", "false", "1"), outcome
    assert outcome["reason"].endswith("; rolled back to what ran before"), "the first failure is its reason yet"
    assert "this is why" in outcome["output"]
    assert app.answer() == "good\n"
    assert app.image() == image


@pytest.mark.parametrize("stage", ["restarting", "verifying"])
def test_a_daemon_killed_after_the_build_deploys_it_all_the_same(rootless: App, stage: str) -> None:
    app, server = rootless, rootless.server
    with server.repo_file(app.name, settle='"2s"'), app.unit_file(service="ExecStartPost=sleep 1"):
        app.deploy_good()
        for content, command, state in (("new\n", "", "succeeded"), ("bad\n", "exit 1", "rolled-back")):
            app.commit({"www/index.html": content}, **({"command": command} if command else {}))
            job = server.push(app.work).job
            server.wait(job, (stage, "rolling-back"))  # a bad one may be past it before we look
            server.kill("tinyci")
            outcome = server.wait(job, limit=60)
            assert (outcome["state"], outcome["attempt"]) == (state, "1"), outcome
            assert app.answer() == "new\n"


# The manager that is told to exit stops its units while its gate is up, so that the daemon sees them go.
@pytest.mark.parametrize(
    "again",
    [
        "systemctl restart user@{uid}",
        "systemctl --user -M {user}@ exit; while systemctl is-active -q user@{uid}; do sleep 0.05; done; "
        "systemctl start user@{uid} tinyci-gate@{uid}",
    ],
    ids=["restarted", "exits"],
)
def test_a_manager_that_comes_anew_in_the_settle_window_is_no_failure(rootless: App, again: str) -> None:
    app, server = rootless, rootless.server
    with server.repo_file(app.name, settle='"4s"'):
        app.deploy_good()
        app.commit({"www/index.html": "new\n"})
        job = server.push(app.work).job
        server.wait(job, ("verifying",))
        uid = server.sh(f"id -u {app.user}").strip()
        try:
            server.sh(again.format(uid=uid, user=app.user), limit=200)
            outcome = server.wait(job, limit=120)
        finally:
            server.sh(f"systemctl start user@{uid}")
    assert outcome["state"] == "succeeded", outcome
    assert app.answer() == "new\n"
