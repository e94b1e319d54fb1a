"""A unit that ends or pauses by design is well, and one that failed is not, whatever its type."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from app import App
from testhost import TestHost, Work
from unitfiles import unit_files

Clone = Callable[[str], Work]

QUADLET = """[Container]
Image=localhost/{image}:latest
Pull=never
Network=host
Exec=/bin/busybox sh -c "echo migrating; exit {status}"
[Service]
Type=oneshot
{more}
"""
BY_HAND = """[Service]
Type=oneshot
Environment=PODMAN_SYSTEMD_UNIT=%n
ExecStart=/usr/bin/podman run --name by-hand --replace localhost/{image}:latest /bin/busybox true
"""


def oneshot(image: str, status: int = 0, more: str = "") -> str:
    """A Quadlet of a container that ends with that status."""
    return QUADLET.format(image=image, status=status, more=more)


@contextmanager
def gone_after(app: App, container: str) -> Iterator[None]:
    """Remove a container after the block, which other tests would meet otherwise."""
    try:
        yield
    finally:
        app.podman(f"rm --force --ignore {container}")


def test_a_oneshot_that_ended_well_is_well(app: App) -> None:
    """Of the one by hand there is a container yet, which has ended."""
    files = {
        "migration.container": oneshot(app.name),
        "remaining.container": oneshot(app.name, more="RemainAfterExit=yes"),
        "by-hand.service": BY_HAND.format(image=app.name),
    }
    units = ["migration.service", "remaining.service", "by-hand.service", app.unit]
    with (
        gone_after(app, "by-hand"),
        unit_files(app.server, app.user, files),
        app.server.repo_file(app.name, settle='"1s"', units=json.dumps(units)),
    ):
        app.deploy_good()
        job = app.deploy("migrated\n")
    assert job["state"] == "succeeded", job
    assert app.answer() == "migrated\n"


def test_a_oneshot_that_failed_fails_the_job_and_what_it_said_is_its_reason(app: App) -> None:
    with app.server.repo_file(app.name, settle='"1s"'):
        app.deploy_good()
    with (
        unit_files(app.server, app.user, {"migration.container": oneshot(app.name, 4)}),
        app.server.repo_file(app.name, settle='"1s"', units=f'["migration.service", "{app.unit}"]'),
    ):
        job = app.deploy("not migrated\n")
    assert job["state"] == "failed", job
    first, _ = job["reason"].split("; the rollback failed too: ")
    assert first == (
        "migration.service did not start: its main process exited with status 4; "
        "migration.service printed last: migrating"
    )
    assert app.answer() == "good\n"


def test_a_container_that_prepares_another_one_may_have_ended(app: App) -> None:
    """It has the unit's label, and nobody removed it."""
    seed = (
        f"ExecStartPre=/usr/bin/podman run --replace --name seed localhost/{app.name}:latest /bin/busybox true\n"
        "ExecStartPre=/usr/bin/podman inspect seed"
    )
    with gone_after(app, "seed"), app.unit_file(service=seed), app.server.repo_file(app.name, settle='"1s"'):
        app.deploy_good()
        job = app.deploy("seeded\n")
    assert job["state"] == "succeeded", job
    assert app.answer() == "seeded\n"


# Units without a container, deployed in this order.
BY_DESIGN = {
    "unneeded.service": "[Unit]\nStopWhenUnneeded=yes\n[Service]\nExecStart=sleep infinity\n",
    "idle.socket": "[Socket]\nListenStream=%t/idle.sock\n",
    "idle.service": "[Service]\nExecStart=sleep 0.3\n",
    "now-and-then.timer": "[Timer]\nOnActiveSec=1d\n",
    "now-and-then.service": "[Service]\nType=oneshot\nExecStart=true\n",
    "brief.service": "[Service]\nType=oneshot\nExecStart=sleep 0.3\n",
    "omission.service": "[Unit]\nConditionPathExists=/none\n[Service]\nType=oneshot\nExecStart=false\n",
    "wait.path": "[Path]\nPathExists=/none\n",
    "wait.service": "[Service]\nType=oneshot\nExecStart=true\n",
    "group.target": "[Unit]\nDescription=A group of units\n",
    "reload.service": "[Service]\nType=notify\nNotifyAccess=all\n"
    "ExecStart=sh -c 'systemd-notify --ready; systemd-notify RELOADING=1; exec sleep infinity'\n",
}
FALLEN = {
    "a service that ends": (
        {"aside.service": "[Service]\nExecStart=true\n"},
        # As long as systemd has not forgotten it, it knows more.
        "aside.service did not stay up after its restart: it ended without an error, or was stopped, and a service",
        "after its restart: its main process exited with status 0, and a service has to stay up",
    ),
    "a service whose condition is not met": (
        {"aside.service": "[Unit]\nConditionPathExists=/none\n[Service]\nExecStart=sleep infinity\n"},
        "condition check ConditionPathExists=/none",
    ),
    "a service that is on demand and fails": (
        {
            "aside.socket": "[Socket]\nListenStream=%t/aside.sock\n",
            "aside.service": "[Service]\nExecStart=false\n",
        },
        "its main process exited with status 1",
    ),
}


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_units_that_are_not_active_by_design_are_well(server: TestHost, work: Clone, repo: str) -> None:
    user = "root" if repo == "probe-root" else repo
    work(repo).script("true")
    with (
        unit_files(server, user, BY_DESIGN),
        server.repo_file(repo, settle='"500ms"', restart_timeout='"8s"', units=json.dumps(list(BY_DESIGN))),
    ):
        job = server.deploy(work(repo))
    assert job["state"] == "succeeded", job


@pytest.mark.parametrize("case", FALLEN)
def test_a_unit_that_is_down_for_no_reason_is_not_well(server: TestHost, work: Clone, case: str) -> None:
    files, *sentences = FALLEN[case]
    work("probe").script("true")
    with (
        unit_files(server, "probe", files),
        server.repo_file("probe", settle='"500ms"', units=json.dumps(list(files))),
    ):
        job = server.deploy(work("probe"))
    assert job["state"] == "failed", job
    assert any(sentence in job["reason"] for sentence in sentences), job
