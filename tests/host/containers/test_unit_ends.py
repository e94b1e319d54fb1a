"""A unit that ends or pauses by design is well, and one that failed is not, whatever its type."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from app import App
from testhost import TestHost, Work
from unitfiles import unit_files

Clone = Callable[[str], Work]

# Each beside the app: a file, and the names of units in their order. MIGRATE ends with the status of $STATUS.
QUADLET = """[Container]
ContainerName=migrate
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
ExecStart=/usr/bin/podman run --name migrate --replace localhost/{image}:latest /bin/busybox sh -c "exit {status}"
ExecStopPost=-/usr/bin/podman rm -f migrate-of-nobody
"""


def oneshot(variant: str, image: str, status: int = 0) -> dict[str, str]:
    if variant == "by hand":
        return {"migrate.service": BY_HAND.format(image=image, status=status)}
    more = "RemainAfterExit=yes" if variant == "remains" else ""
    return {"migrate.container": QUADLET.format(image=image, status=status, more=more)}


@contextmanager
def gone_after(app: App, container: str) -> Iterator[None]:
    """Remove a container after the block, which other tests would meet otherwise."""
    try:
        yield
    finally:
        app.podman(f"rm --force --ignore {container}")


@pytest.mark.parametrize("variant", ["quadlet", "remains", "by hand"])
def test_a_oneshot_that_ended_well_is_well(app: App, variant: str) -> None:
    with (
        gone_after(app, "migrate"),
        unit_files(app.server, app.user, oneshot(variant, app.name)),
        app.server.repo_file(app.name, settle='"1s"', units=f'["migrate.service", "{app.unit}"]'),
    ):
        app.deploy_good()
        job = app.deploy("migrated\n")
    assert job["state"] == "succeeded", job
    assert app.answer() == "migrated\n"


def test_a_oneshot_that_failed_fails_the_job_and_what_it_said_is_its_reason(app: App) -> None:
    with app.server.repo_file(app.name, settle='"1s"'):
        app.deploy_good()
    with (
        unit_files(app.server, app.user, oneshot("quadlet", app.name, 4)),
        app.server.repo_file(app.name, settle='"1s"', units=f'["migrate.service", "{app.unit}"]'),
    ):
        job = app.deploy("not migrated\n")
    assert job["state"] == "failed", job
    first, _ = job["reason"].split("; the rollback failed too: ")
    assert first == (
        "migrate.service did not start: its main process exited with status 4; migrate.service printed last: migrating"
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


# Units without a container, deployed in that order; where the key begins with "only ", the first one alone.
BY_DESIGN = {
    "stops when nobody needs it": {
        "aside.service": "[Unit]\nStopWhenUnneeded=yes\n[Service]\nExecStart=sleep infinity\n",
    },
    "ends when its socket is idle": {
        "aside.socket": "[Socket]\nListenStream=%t/aside.sock\n",
        "aside.service": "[Service]\nExecStart=sleep 0.3\n",
    },
    "is run by a timer": {
        "aside.timer": "[Timer]\nOnActiveSec=1d\n",
        "aside.service": "[Service]\nType=oneshot\nExecStart=true\n",
    },
    "ends soon after its start": {"aside.service": "[Service]\nType=oneshot\nExecStart=sleep 0.3\n"},
    "is skipped": {"aside.service": "[Unit]\nConditionPathExists=/none\n[Service]\nType=oneshot\nExecStart=false\n"},
    "only a timer": {
        "aside.timer": "[Timer]\nOnActiveSec=1d\n",
        "aside.service": "[Service]\nType=oneshot\nExecStart=false\n",
    },
    "only a socket": {
        "aside.socket": "[Socket]\nListenStream=%t/aside.sock\n",
        "aside.service": "[Service]\nExecStart=false\n",
    },
    "only a path": {
        "aside.path": "[Path]\nPathExists=/none\n",
        "aside.service": "[Service]\nExecStart=false\n",
    },
    "is a target": {"aside.target": "[Unit]\nDescription=Aside\n"},
    "reloads for ever": {
        "aside.service": "[Service]\nType=notify\nNotifyAccess=all\n"
        "ExecStart=sh -c 'systemd-notify --ready; systemd-notify RELOADING=1; exec sleep infinity'\n",
    },
}
FALLEN = {
    "a service that ends": (
        {"aside.service": "[Service]\nExecStart=true\n"},
        "aside.service did not stay up after its restart: it ended without an error, or was stopped, and a service",
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
@pytest.mark.parametrize("design", BY_DESIGN)
def test_a_unit_that_is_not_active_by_design_is_well(server: TestHost, work: Clone, repo: str, design: str) -> None:
    user = "root" if repo == "probe-root" else repo
    files = BY_DESIGN[design]
    units = list(files)[: 1 if design.startswith("only ") else None]
    work(repo).script("true")
    with (
        unit_files(server, user, files),
        server.repo_file(repo, settle='"500ms"', restart_timeout='"8s"', units=json.dumps(units)),
    ):
        job = server.deploy(work(repo))
    assert job["state"] == "succeeded", job


@pytest.mark.parametrize("case", FALLEN)
def test_a_unit_that_is_down_for_no_reason_is_not_well(server: TestHost, work: Clone, case: str) -> None:
    files, sentence = FALLEN[case]
    work("probe").script("true")
    with (
        unit_files(server, "probe", files),
        server.repo_file("probe", settle='"500ms"', units=json.dumps(list(files))),
    ):
        job = server.deploy(work("probe"))
    assert job["state"] == "failed", job
    assert sentence in job["reason"], job
