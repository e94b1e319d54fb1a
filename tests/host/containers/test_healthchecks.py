"""The health of a container is awaited as long as its repo allows, whatever podman makes of it meanwhile."""

import pytest
from app import SERVER, App


def slow(app: App, seconds: int) -> str:
    """The command of a server that is well after some seconds."""
    return f"/bin/busybox sleep {seconds}; /bin/busybox touch /up; {SERVER.format(port=app.inner_port)}"


def check(*more: str) -> str:
    return "\n".join(['HealthCmd=["/bin/busybox", "test", "-e", "/up"]', *more])


def test_a_container_that_is_unhealthy_at_first_may_become_healthy(app: App) -> None:
    with (
        app.unit_file(container=check("HealthInterval=1s", "HealthRetries=2")),
        app.server.repo_file(app.name, settle='"3s"', verify_timeout='"30s"'),
    ):
        job = app.deploy("slow\n", command=slow(app, 5))
    assert job["state"] == "succeeded", job
    assert app.answer() == "slow\n"


@pytest.mark.parametrize(
    ("app", "interval"), [("rootless", "10m"), ("rootless", "disable"), ("rootful", "disable")], indirect=["app"]
)
def test_a_check_that_podman_makes_seldom_or_never_is_made(app: App, interval: str) -> None:
    with (
        app.unit_file(container=check(f"HealthInterval={interval}", "HealthRetries=3")),
        app.server.repo_file(app.name, settle='"1s"', verify_timeout='"5s"'),
    ):
        job = app.deploy("slow\n", command=slow(app, 2))
        assert job["state"] == "succeeded", job
        assert app.answer() == "slow\n"
        bad = app.deploy("bad\n", command=f"echo never up; {SERVER}")
        assert bad["state"] == "rolled-back", bad
        assert "is unhealthy, says its healthcheck (podman runs it " in bad["reason"]
        assert "which exits with status 1" in bad["reason"]
        assert app.answer() == "slow\n"


def test_the_last_words_of_a_healthcheck_are_in_the_reason_and_the_containers_in_the_log(app: App) -> None:
    words = 'HealthCmd=["/bin/busybox", "sh", "-c", "test -e /www/ok || { echo no database; exit 1; }"]'
    with (
        app.unit_file(container=f"{words}\nHealthInterval=1s\nHealthRetries=1"),
        app.server.repo_file(app.name, settle='"1s"', verify_timeout='"3s"'),
    ):
        app.deploy_good({"www/ok": ""})
        app.work.git("rm", "-q", "www/ok")
        job = app.deploy("bad\n", command=f"echo the server says; {SERVER}")
        assert job["state"] == "rolled-back", job
        assert (
            f"container {app.name} of {app.unit} is unhealthy, says its healthcheck, which exits with status 1 and "
            "prints: no database, after 3s (verify_timeout)" in job["reason"]
        )
        log = app.server.log(job["id"])
        assert "the server says" in log[log.index("[tinyci: what the unit said last]") :]
    app.commit({"www/index.html": "good\n"})


def test_a_healthcheck_that_the_image_cannot_hold_is_told(app: App) -> None:
    def files(*options: str) -> dict[str, str]:
        lines = (app.work.path / "Containerfile").read_text().splitlines()
        lines = [line for line in lines if not line.startswith("HEALTHCHECK")]
        return {
            "Containerfile": "\n".join([*lines, 'HEALTHCHECK CMD ["/bin/busybox", "false"]', ""]),
            "ci-build.sh": "#!/bin/sh\nset -eu\ncp /usr/bin/busybox busybox\n"
            f"podman build {' '.join(options)} --tag {app.name}:latest .\n",
        }

    with app.server.repo_file(app.name, settle='"1s"', verify_timeout='"2s"'):
        app.deploy_good()
        app.work.commit(files())
        job = app.server.deploy(app.work)
        assert job["state"] == "succeeded", job
        assert job["reason"] == (
            f"the HEALTHCHECK of localhost/{app.name}:latest is not in the image, so nothing checks {app.name}: "
            "podman build --format docker keeps it, or write HealthCmd= in the Quadlet"
        )
        app.work.commit(files("--format", "docker"))
        job = app.server.deploy(app.work)
        assert job["state"] == "rolled-back", job
        assert "not in the image" not in job["reason"]


def test_a_url_of_a_server_that_knows_its_own_name_alone_is_asked_by_that(rootless: App) -> None:
    app = rootless
    page = (
        "#!/bin/busybox sh\n"
        'if [ "$HTTP_HOST" != web.example.org ]; then printf "Status: 403 Forbidden\\n\\n\\n"\n'
        'elif [ "$HTTP_X_FORWARDED_PROTO" != https ]; then printf "Status: 301 Moved\\nLocation: https://a.b/\\n\\n\\n"\n'
        'else printf "Status: 200 OK\\n\\n\\n"; fi\n'
    )
    url = f"http://127.0.0.1:{app.port}/cgi-bin/up.sh"
    server, host = app.server, "Host: web.example.org"
    options = {"settle": '"1s"', "verify_timeout": '"3s"'}
    with server.repo_file(app.name, **options):
        app.deploy_good({"www/cgi-bin/up.sh": page})
    with server.repo_file(app.name, health=f'"{url}"', **options):
        job = app.deploy("1\n")
        assert job["success"] == "false"
        assert (
            f'{url} answers 403 (if the server answers to its own name alone: health_headers = ["Host: NAME"])'
            in (job["reason"])
        )
    with server.repo_file(app.name, health=f'"{url}"', health_headers=f'["{host}"]', **options):
        job = app.deploy("2\n")
        assert f"{url} answers 301 and leads to https://a.b/: ask for that page in 'health'" in job["reason"]
        assert "(verify_timeout)" not in job["reason"], "no waiting mends it"
    headers = f'["{host}", "X-Forwarded-Proto: https"]'
    with server.repo_file(app.name, health=f'"{url}"', health_headers=headers, **options):
        assert app.deploy("3\n")["state"] == "succeeded"
    with server.repo_file(
        app.name, health=f'"{url}"', health_headers=f'["{host}"]', health_status='["3xx"]', **options
    ):
        assert app.deploy("4\n")["state"] == "succeeded"
    app.work.git("rm", "-qr", "www/cgi-bin")
    app.commit({"www/index.html": "good\n"})
