"""However a container is run: what runs is what was pushed, or the job says why not."""

import re

import pytest
from app import App
from ways import quadlet, quadlets_of, run_options, unit_directory, unit_of, without_quadlet

RUN = "ExecStart=/usr/bin/podman run --rm {options} {more} localhost/{name}:latest\nTimeoutStopSec=5s"
WRAPPED = "ExecStart=/bin/sh -c '/usr/bin/podman run --rm {options} {more} $(echo localhost/{name}:latest)'"
COMPOSED = (
    "Type=oneshot\nRemainAfterExit=yes\n"
    "ExecStart=/usr/bin/podman run -d {options} --label PODMAN_SYSTEMD_UNIT=podman-compose@x.service {more} "
    "localhost/{name}:latest\nExecStop=/usr/bin/podman rm -f -t 1 {name}"
)
FAILS = "sleep 1; exit 1"


def check_that_it_deploys_and_rolls_back(app: App) -> None:
    with app.server.repo_file(app.name, settle='"2s"', verify_timeout='"20s"'):
        first = app.deploy("one\n")
        assert (first["state"], app.answer()) == ("succeeded", "one\n"), first
        second = app.deploy("two\n")
        assert (second["state"], app.answer()) == ("succeeded", "two\n"), second
        assert second["running_image"] == app.image()
        bad = app.deploy("bad\n", command=FAILS)
        assert bad["state"] == "rolled-back", bad
        assert app.answer() == "two\n"


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(RUN, id="by hand"),
        pytest.param(WRAPPED, id="in a shell"),
        pytest.param(COMPOSED, id="like compose"),
    ],
)
def test_a_unit_without_podmans_label_is_verified_and_rolled_back(app: App, service: str) -> None:
    with unit_of(app, service.format(options=run_options(app), name=app.name, more="")):
        check_that_it_deploys_and_rolls_back(app)


def test_a_unit_that_starts_an_old_container_is_refused_and_what_it_says_mends_it(app: App) -> None:
    """A person who has a unit of `podman generate systemd` without --new, and reads only what tinyci tells."""
    unit = f"{unit_directory(app)}/{app.unit}"
    with without_quadlet(app), app.server.repo_file(app.name, settle='"1s"'):
        app.podman(f"run -d {run_options(app)} {app.name}:latest")
        app.podman(f"generate systemd --name {app.name} >{unit}")
        app.server.sh(app.systemctl("daemon-reload"))
        app.podman(f"stop -t 1 {app.name}")
        app.server.sh(app.systemctl(f"start {app.unit}"))
        image = app.image()
        job = app.deploy("from a unit of old\n")
        assert job["state"] == "failed", job
        assert f"{app.unit} starts container {app.name} again" in job["reason"], job
        assert app.podman(f"image inspect --format '{{{{.Id}}}}' {app.name}:latest").strip() == image, "put back"
        advice = re.search(r"\((podman generate systemd --new [^,]*), then daemon-reload", job["reason"])
        assert advice, job
        app.server.as_manager(app.user, advice[1])
        app.server.sh(app.systemctl("daemon-reload"))
        again = app.deploy("from a unit of new\n")
        assert (again["state"], app.answer()) == ("succeeded", "from a unit of new\n"), again


def test_an_image_that_the_unit_builds_itself_is_deployed(rootless: App) -> None:
    build = f"[Build]\nImageTag=localhost/{rootless.name}:latest\nSetWorkingDirectory=%h/src\nFile=%h/src/Containerfile"
    script = "#!/bin/sh\nset -eu\nmkdir -p ~/src\ncp -r . ~/src/\ncp /usr/bin/busybox ~/src/\n"
    with (
        quadlets_of(rootless, container=quadlet(rootless, f"{rootless.name}.build"), build=build),
        rootless.server.repo_file(rootless.name, settle='"1s"'),
    ):
        for content in ("one\n", "two\n"):
            rootless.commit({"www/index.html": content, "ci-build.sh": script})
            job = rootless.server.deploy(rootless.work)
            assert (job["state"], rootless.answer()) == ("succeeded", content), job
        rootless.commit({"ci-build.sh": script}, command="exit 1")
        job = rootless.server.deploy(rootless.work)
        assert job["state"] == "failed", job
        assert (
            f"{rootless.name}-build.service builds the image anew at each start: push the version before"
            in job["reason"]
        )


def test_a_target_restarts_its_parts_or_is_refused(rootless: App) -> None:
    service = RUN.format(options=run_options(rootless), name=rootless.name, more="")
    target = f"{unit_directory(rootless)}/{rootless.name}.target"
    rootless.deploy("before\n")
    with (
        unit_of(rootless, service),
        rootless.server.repo_file(rootless.name, settle='"1s"', units=f'["{rootless.name}.target"]'),
    ):
        rootless.server.as_manager(rootless.user, f"printf '[Unit]\\nWants={rootless.unit}\\n' >{target}")
        rootless.server.sh(
            f"{rootless.systemctl('daemon-reload')}; {rootless.systemctl(f'start {rootless.name}.target')}"
        )
        job = rootless.deploy("of a target\n")
        assert job["state"] == "failed", job
        assert f"write PartOf={rootless.name}.target in its [Unit]" in job["reason"], job
        unit = f"{unit_directory(rootless)}/{rootless.unit}"
        rootless.server.as_manager(rootless.user, f"sed -i 's/^.Unit.$/&\\nPartOf={rootless.name}.target/' {unit}")
        rootless.server.sh(rootless.systemctl("daemon-reload"))
        job = rootless.deploy("of a target and its parts\n")
        assert (job["state"], rootless.answer()) == ("succeeded", "of a target and its parts\n"), job


def test_a_slice_restarts_its_members(rootless: App) -> None:
    rootless.deploy("before a slice\n")
    service = RUN.format(options=run_options(rootless), name=rootless.name, more="") + f"\nSlice={rootless.name}.slice"
    with (
        unit_of(rootless, service),
        rootless.server.repo_file(rootless.name, settle='"2s"', units=f'["{rootless.name}.slice"]'),
    ):
        rootless.server.sh(rootless.systemctl(f"start {rootless.unit}"))
        job = rootless.deploy("of a slice\n")
        assert (job["state"], rootless.answer()) == ("succeeded", "of a slice\n"), job
        bad = rootless.deploy("bad\n", command=FAILS)
        assert (bad["state"], rootless.answer()) == ("rolled-back", "of a slice\n"), bad
