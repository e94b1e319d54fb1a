"""The reason of a failed deploy is a person's sentence, and stands where the person is looking."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from app import App
from follower import follow
from testhost import TestHost, Work
from unitfiles import unit_files

Clone = Callable[[str], Work]
SAID = "[tinyci: what the unit said last]"


def test_a_push_that_is_followed_shows_how_the_unit_fell_and_what_it_printed(app: App) -> None:
    server = app.server
    with server.repo_file(app.name, settle='"2s"'):
        app.commit(
            {"www/index.html": "good\n"},
            command="trap 'echo the old one ends; exit 0' TERM; /bin/busybox httpd -f -p {port} -h /www & wait",
        )
        assert server.deploy(app.work)["state"] == "succeeded"
        app.commit({"www/index.html": "bad\n"}, command="echo this is why; exit 3")
        with follow(server, app.work) as push:
            push.wait()
        job = server.wait(push.jobs[0])
    assert job["state"] == "rolled-back", job
    end = f"its main process exited with status 3; {app.unit} printed last: this is why"
    assert f"{app.unit} fell" in job["reason"] or f"{app.unit} did not start" in job["reason"], job
    assert job["reason"].endswith(f"{end}; rolled back to what ran before")
    place = push.lines.index(SAID)
    assert "this is why" in push.lines[place : push.lines.index("== rolling-back")], push.lines
    assert end in push.lines[-1]
    shown = server.sh(f"tinyci log {app.name}")
    assert "this is why" in shown.partition(SAID)[2]
    assert "the old one ends" not in shown, "that is of the version before"


@contextmanager
def requirement(app: App, *, text: str) -> Iterator[None]:
    """Have the app, which runs, require db.service from now on."""
    with (
        unit_files(app.server, app.user, {"db.service": text}),
        app.unit_file(unit="Requires=db.service\nAfter=db.service"),
        app.server.repo_file(app.name, settle='"1s"'),
    ):
        yield


DB = """[Unit]
{limit}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'test -e /run/db-disk || {{ echo db has no disk; exit 1; }}'
"""


@pytest.mark.parametrize(
    ("app", "limit"),
    [("rootless", ""), ("rootless", "StartLimitIntervalSec=1h\nStartLimitBurst=1")],
    ids=["rootless", "limit"],
    indirect=["app"],
)
def test_a_required_unit_that_failed_is_noticed_while_the_app_runs(app: App, limit: str) -> None:
    server = app.server
    with server.repo_file(app.name, settle='"1s"'):
        app.deploy_good()
    with requirement(app, text=DB.format(limit=limit)):
        before = server.show(app.user, app.unit, "InvocationID")
        server.systemctl(app.user, "start db.service")
        server.systemctl(app.user, "start db.service")
        job = app.deploy("new\n")
        assert job["state"] == "failed", job
        assert job["reason"].startswith(f"{app.unit} requires db.service, which has failed: "), job
        assert "its main process exited with status 1" in job["reason"]
        assert "; nothing was restarted: mend it, '" in job["reason"]
        assert job["reason"].endswith("; db.service printed last: db has no disk"), job
        assert "db has no disk" in server.log(job["id"])
        assert app.answer() == "good\n"
        assert server.show(app.user, app.unit, "InvocationID") == before
        try:
            server.sh("touch /run/db-disk")
            if limit:
                server.sh(app.systemctl("reset-failed db.service"))
                server.sh(app.systemctl("start db.service"))
            assert app.deploy("newer\n")["state"] == "succeeded"
        finally:
            server.sh("rm -f /run/db-disk")


def test_a_required_unit_that_fails_with_the_restart_is_named(rootless: App) -> None:
    app = rootless
    with app.server.repo_file(app.name, settle='"1s"'):
        app.deploy_good()
    with requirement(app, text=DB.format(limit="")):
        job = app.deploy("new\n")
        assert job["state"] == "failed", job
        first, _ = job["reason"].split("; the rollback failed too: ")
        assert first.startswith(
            f"{app.unit} did not start: {app.unit} requires db.service, which has failed: its main process exited with "
            "status 1; mend it, '"
        )
        assert first.endswith("; db.service printed last: db has no disk")


def test_a_unit_of_the_systems_is_none_of_a_users_and_is_named_so(server: TestHost, work: Clone) -> None:
    work("probe").script("true")
    text = "[Service]\nUser=probe\nExecStart=sleep infinity\n"
    with (
        unit_files(server, "root", {"aside.service": text}),
        server.repo_file("probe", settle='"1s"', units='["aside.service"]'),
    ):
        job = server.deploy(work("probe"))
        findings = server.run("tinyci doctor probe").text
    assert job["state"] == "failed", job
    assert job["reason"].startswith("aside.service is a unit of the system's manager, with User=probe, and a repo of ")
    assert "aside.service is a unit of the system's manager, with User=probe" in findings


def test_podman_of_another_user_is_refused_before_it_is_restarted(server: TestHost, work: Clone) -> None:
    sentence = "aside.service runs podman as probe (User=), who does not have the images that root builds"
    for command, state in (("/usr/bin/podman info", "failed"), ("sleep infinity", "succeeded")):
        with (
            unit_files(server, "root", {"aside.service": f"[Service]\nUser=probe\nExecStart={command}\n"}),
            server.repo_file("probe-root", settle='"1s"', units='["aside.service"]'),
        ):
            work("probe-root").script(f"true # {command}")
            job = server.deploy(work("probe-root"))
            invocation = server.show("root", "aside.service", "InvocationID")
            findings = server.run("tinyci doctor probe-root").text
        assert job["state"] == state, job
        assert job["reason"].startswith(sentence) == (state == "failed"), job
        assert bool(invocation) == (state == "succeeded")
        assert (sentence in findings) == (state == "failed"), findings
