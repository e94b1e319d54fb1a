"""`succeeded` means that what runs is what was pushed; and when a deploy fails, what ran before runs again."""

from collections.abc import Callable

from app import App
from testhost import TestHost, Work

Clone = Callable[[str], Work]


def still_good(app: App, job: dict[str, str], image: str) -> None:
    """The old content still answers, from the old image, under its old name."""
    assert job["success"] == "false", job
    assert app.answer() == "good\n"
    assert app.image() == image
    assert app.podman(f"image inspect --format '{{{{.Id}}}}' {app.name}:latest").strip() == image


def test_a_server_that_exits_at_once_is_rolled_back(app: App) -> None:
    with app.server.repo_file(app.name, settle='"2s"'):
        image = app.deploy_good()
        job = app.deploy("bad\n", command="echo this is why; exit 3")
    assert job["state"] == "rolled-back", job
    assert job["reason"].startswith((f"{app.unit} did not start: ", f"{app.unit} fell ")), job
    end = f"its main process exited with status 3; {app.unit} printed last: this is why; rolled back to what ran before"
    assert job["reason"].endswith(end)
    still_good(app, job, image)
    # What the container said is told: in the output, and in the daemon's journal.
    assert "this is why" in job["output"].partition("[tinyci: what the unit said last]")[2], job["output"]
    assert "this is why" in app.server.sh(f"journalctl -u tinyci TINYCI_JOB={job['id']} -o cat --no-pager")


def test_a_server_that_exits_after_a_while_is_rolled_back_though_systemd_restarts_it(app: App) -> None:
    with app.unit_file(service="Restart=always\nRestartSec=100ms"), app.server.repo_file(app.name, settle='"4s"'):
        image = app.deploy_good()
        job = app.deploy("bad\n", command="/bin/busybox sleep 2; echo tired; exit 1")
    assert job["state"] == "rolled-back", job
    assert job["reason"].startswith(f"{app.unit} fell "), job
    assert f"{app.unit} printed last: tired; rolled back to what ran before" in job["reason"]
    assert "tired" in job["output"]
    still_good(app, job, image)


def test_a_healthcheck_that_never_passes_is_rolled_back(app: App) -> None:
    check = 'HealthCmd=["/bin/busybox", "test", "-e", "/www/healthy"]\nHealthInterval=1s\nHealthRetries=2'
    with app.unit_file(container=check), app.server.repo_file(app.name, settle='"1s"', verify_timeout='"5s"'):
        image = app.deploy_good({"www/healthy": "yes\n"})
        app.work.git("rm", "-q", "www/healthy")
        job = app.deploy("bad\n")
        assert job["state"] == "rolled-back", job
        assert f"container {app.name} of {app.unit} is unhealthy, says its healthcheck" in job["reason"]
        still_good(app, job, image)


def test_a_url_that_answers_500_is_rolled_back(app: App) -> None:
    def page(status: str) -> dict[str, str]:
        return {"www/cgi-bin/health.sh": f"#!/bin/busybox sh\nprintf 'Status: {status}\\n\\n\\n'\n"}

    url = f"http://127.0.0.1:{app.port}/cgi-bin/health.sh"
    with app.server.repo_file(app.name, settle='"1s"', verify_timeout='"3s"', health=f'"{url}"'):
        image = app.deploy_good(page("200 OK"))
        app.commit(page("500 Internal Server Error"))
        job = app.server.deploy(app.work)
    assert job["state"] == "rolled-back", job
    assert f"{url} answers 500, after 3s (verify_timeout)" in job["reason"]
    still_good(app, job, image)


def test_a_container_that_never_gets_ready_is_rolled_back(app: App) -> None:
    """READY=1 comes when the healthcheck passes (Notify=healthy, podman-systemd.unit(5))."""
    check = 'HealthCmd=["/bin/busybox", "test", "-e", "/www/healthy"]\nHealthInterval=1s\nNotify=healthy'
    with (
        app.unit_file(container=check, service="TimeoutStartSec=5s\nTimeoutStopSec=2s"),
        app.server.repo_file(app.name, settle='"1s"'),
    ):
        image = app.deploy_good({"www/healthy": "yes\n"})
        app.work.git("rm", "-q", "www/healthy")
        job = app.deploy("bad\n")
        assert job["state"] == "rolled-back", job
        assert job["reason"].startswith(f"{app.unit} did not start: it was not ready in time (TimeoutStartSec=5s)"), job
        still_good(app, job, image)


def test_a_build_under_another_name_is_told(app: App) -> None:
    with app.server.repo_file(app.name, settle='"1s"'):
        image = app.deploy_good()
        before = app.server.show(app.user, app.unit, "InvocationID")
        for content in ("bad\n", "bad\n"):  # the second is cached whole, and no more true for that
            job = app.deploy(content, image="typo")
            assert job["state"] == "failed", job
            assert job["reason"].startswith(
                f"the build made localhost/typo:latest, and no new localhost/{app.name}:latest, which {app.unit} runs"
            )
            still_good(app, job, image)
        assert app.server.show(app.user, app.unit, "InvocationID") == before, "nothing was restarted"
        app.podman("rmi typo:latest")


def test_a_build_that_makes_nothing_new_restarts_nothing_and_says_so(app: App) -> None:
    with app.server.repo_file(app.name, settle='"1s"'):
        image = app.deploy_good()
        before = app.server.show(app.user, app.unit, "InvocationID")
        app.commit({"README.md": "A word more.\n"})
        job = app.server.deploy(app.work)
    assert (job["state"], job["success"]) == ("unchanged", "true"), job
    # The file is not in the image, and podman builds from its cache.
    assert job["reason"] == f"the build made nothing new for {app.unit}, which runs on as it was"
    assert app.image() == image
    assert app.server.show(app.user, app.unit, "InvocationID") == before


def test_a_build_that_makes_nothing_new_restarts_where_that_is_asked_for(rootless: App) -> None:
    with rootless.server.repo_file(rootless.name, settle='"1s"', restart='"always"'):
        rootless.deploy_good()
        before = rootless.server.show(rootless.user, rootless.unit, "InvocationID")
        rootless.commit({"README.md": "Another word.\n"})
        job = rootless.server.deploy(rootless.work)
    assert (job["state"], job["success"]) == ("succeeded", "true"), job
    assert job["reason"] == f"the build made no new image, so {rootless.unit} runs the one that ran before"
    assert rootless.server.show(rootless.user, rootless.unit, "InvocationID") != before


def test_an_image_that_is_gone_cannot_be_gone_back_to(app: App) -> None:
    """The script of the bad version removes what it should have left alone, by force."""
    with app.server.repo_file(app.name, settle='"1s"'):
        image = app.deploy_good()
        app.commit({"www/index.html": "bad\n"}, command="exit 1")
        script = (app.work.path / "ci-build.sh").read_text()
        app.work.commit({"ci-build.sh": f"{script}podman rmi --force {image}\n"})
        job = app.server.deploy(app.work)
        assert (job["state"], job["success"]) == ("failed", "false"), job
        first, second = job["reason"].split("; the rollback failed too: ")
        assert app.unit in first
        assert f"image {image[:12]} that ran before as localhost/{app.name}:latest is gone" in second
        app.deploy_good()


def test_a_unit_that_never_had_an_image_has_nothing_to_go_back_to(server: TestHost, work: Clone) -> None:
    work("probe").script("true")
    server.sh("printf '[Service]\\nExecStart=false\\n' >/etc/systemd/user/falling.service")
    server.sh("systemctl --user -M probe@ daemon-reload")
    try:
        with server.repo_file("probe", units='["falling.service"]', settle='"1s"'):
            job = server.deploy(work("probe"))
    finally:
        server.sh("rm /etc/systemd/user/falling.service; systemctl --user -M probe@ reset-failed falling.service")
    assert job["state"] == "failed"
    assert job["reason"].endswith("; not rolled back: no container of these units ran before"), job
    assert "falling.service" in job["reason"]
