"""Containers that a script itself starts, with `podman run -d`: they live on after the build, and can be reached."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from app import App
from testhost import TestHost, Work

PORT = 8095
IMAGE = r"""set -eu
cp /usr/bin/busybox busybox; mkdir -p www; echo "$1" >www/index.html
printf '%s\n' 'FROM scratch' 'COPY busybox /bin/busybox' 'COPY www /www' \
    'CMD ["/bin/busybox", "sh", "-c", "trap exit TERM; /bin/busybox httpd -f -p 8095 -h /www & wait"]' >Containerfile
podman build --quiet --tag side:latest .
"""
NETWORKS = {
    "default": f"podman run -d --replace --name side -p {PORT}:{PORT} side",
    # Root has a bridge instead.
    "slirp4netns": f"podman run -d --replace --name side -p {PORT}:{PORT} "
    "--network $([ $(id -u) = 0 ] && echo bridge || echo slirp4netns) side",
    "host": "podman run -d --replace --name side --network host side",
    "named": "podman network exists side || podman network create side\n"
    f"podman run -d --replace --name side --network side -p {PORT}:{PORT} side",
}


class Side(NamedTuple):
    """A repo without units, whose script starts a container."""

    server: TestHost
    work: Work
    user: str

    def deploy(self, script: str) -> dict[str, str]:
        """Deploy a version, and return its job when nothing of the build is left."""
        self.work.script(script)
        job = self.server.deploy(self.work)
        self.server.systemctl(self.user, f"stop {job['unit']}")
        return job

    def answer(self) -> str:
        return self.server.get(f"http://127.0.0.1:{PORT}/").strip()

    def containers(self) -> list[str]:
        """Return the names of those that scripts have started: root has containers of apps as well."""
        return self.server.as_manager(self.user, "podman ps --filter name=^side --format '{{.Names}}'").split()


@pytest.fixture(params=["probe", "probe-root"])
def side(request: pytest.FixtureRequest, server: TestHost, work: Callable[[str], Work]) -> Iterator[Side]:
    user = "root" if request.param == "probe-root" else "probe"
    yield Side(server, work(request.param), user)
    server.as_manager(user, "podman rm -f -t 1 side; podman network rm -f side; podman rmi side; podman image prune -f")


@pytest.mark.parametrize("network", NETWORKS)
def test_a_container_that_a_script_started_is_reached_after_the_build(side: Side, network: str) -> None:
    for _ in range(2 if network == "default" else 1):
        job = side.deploy(IMAGE + NETWORKS[network])
        assert job["state"] == "succeeded", job
        assert side.answer() == job["revision"]
    assert side.containers() == ["side"]
    assert "tinyci: left running: side; no reboot starts a container again, units do\n" in job["output"]


def test_a_script_that_fails_leaves_what_it_started_as_it_is(side: Side) -> None:
    job = side.deploy(IMAGE + NETWORKS["default"] + "\nexit 3")
    assert (job["state"], job["exit_status"]) == ("failed", "3"), job
    assert side.answer() == job["revision"]


def test_what_else_a_script_leaves_running_ends_with_the_build(side: Side) -> None:
    job = side.deploy(IMAGE + NETWORKS["host"] + "\nsetsid busybox sleep 12345 >/dev/null 2>&1 &")
    assert job["state"] == "succeeded", job
    assert side.answer() == job["revision"]
    assert side.server.run("pgrep -f 'sleep 12345$'").out == ""


def test_a_container_beside_those_of_the_units_lives_on(rootless: App) -> None:
    run = f"podman run -d --replace --name side --network host {rootless.name} /bin/busybox httpd -f -p {PORT} -h /www"
    rootless.commit({"www/index.html": "good\n"})
    script = (rootless.work.path / "ci-build.sh").read_text()
    rootless.work.commit({"ci-build.sh": f"{script}{run}\n"})
    try:
        job = rootless.server.deploy(rootless.work)
        assert job["state"] == "succeeded", job
        rootless.server.systemctl(rootless.user, f"stop {job['unit']}")
        assert rootless.server.get(f"http://127.0.0.1:{PORT}/") == rootless.answer() == "good\n"
    finally:
        rootless.podman("rm -f -t 1 side")


def test_a_build_that_is_cancelled_ends_what_it_started(side: Side) -> None:
    for name in ("begun", "go"):
        side.server.fifo(f"/tmp/side-{name}")
    side.work.script(IMAGE + NETWORKS["host"] + "\necho >/tmp/side-begun; timeout 60 cat /tmp/side-go")
    job = side.server.push(side.work).job
    side.server.sh("timeout 60 cat /tmp/side-begun")
    assert side.answer()
    side.server.sh(f"tinyci cancel {job}")
    assert side.server.wait(job)["state"] == "cancelled"
    side.server.systemctl(side.user, f"stop {side.server.job(job)['unit']}")
    assert "side" not in side.containers()
    assert side.server.run(f"busybox wget -q -T 5 -O - http://127.0.0.1:{PORT}/").status
