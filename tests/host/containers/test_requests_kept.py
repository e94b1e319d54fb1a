"""No request is dropped by a deploy of an app behind a socket that systemd holds."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from testhost import HOST, TestHost, Work

Clone = Callable[[str], Work]

LOAD = Path(__file__).with_name("load.py")


@dataclass
class Load:
    """Numbers of requests, and seconds of the slowest."""

    answers: int = 0
    failures: int = 0
    slowest: float = 0.0


@contextmanager
def load(server: TestHost, port: int) -> Iterator[Load]:
    """Requests to that port of the host while the block runs; its figures afterwards."""
    figures = Load()
    program = ["sh", "-c", 'python3 -c "$0" "$@"', LOAD.read_text(), "127.0.0.1", str(port)]
    command = [HOST, "exec", server.name, "--", *program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        try:
            yield figures
        finally:
            process.stdin.close()
            answers, failures, slowest = process.stdout.read().split()
    figures.answers, figures.failures, figures.slowest = int(answers), int(failures), float(slowest)


def deployed_under_load(server: TestHost, work: Work, port: int, deploys: int) -> Load:
    with server.repo_file(work.repo, settle='"500ms"'):
        work.commit({"www/index.html": "0\n"})
        assert (job := server.deploy(work))["state"] == "succeeded", job
        with load(server, port) as figures:
            for number in range(1, deploys + 1):
                work.commit({"www/index.html": f"{number}\n"})
                job = server.deploy(work)
                assert job["state"] == "succeeded", job
                assert server.get(f"http://127.0.0.1:{port}/") == f"{number}\n"
    print(f"{work.repo}: {deploys} deploys, {figures}")
    return figures


@pytest.mark.parametrize(("repo", "port"), [("hello-socket", 8084), ("hello-socket-root", 8085)])
def test_an_app_behind_a_socket_drops_no_request(
    server: TestHost, work: Clone, request: pytest.FixtureRequest, repo: str, port: int
) -> None:
    deploys = min(20, request.config.getoption("--deploys"))
    figures = deployed_under_load(server, work(repo), port, deploys)
    assert figures.answers > 10 * deploys
    assert figures.failures == 0


def test_a_plain_app_drops_some(server: TestHost, work: Clone, request: pytest.FixtureRequest) -> None:
    """The figure beside it: without the socket the port is nobody's while the container is replaced."""
    figures = deployed_under_load(server, work("hello-quadlet"), 8081, min(20, request.config.getoption("--deploys")))
    assert figures.failures > 0


def test_a_bad_version_behind_a_socket_is_rolled_back_and_drops_no_request(server: TestHost, work: Clone) -> None:
    """It exits at once, so nobody takes what waits in the socket until the old version is back."""
    with server.repo_file("hello-socket", settle='"1s"'):
        work("hello-socket").commit({"www/index.html": "good\n"})
        script = (work("hello-socket").path / "server.py").read_text()
        assert (job := server.deploy(work("hello-socket")))["state"] == "succeeded", job
        with load(server, 8084) as figures:
            work("hello-socket").commit({"server.py": "raise SystemExit('not today')\n"})
            job = server.deploy(work("hello-socket"))
        work("hello-socket").commit({"server.py": script})
    assert job["state"] == "rolled-back", job
    assert "not today" in job["output"]
    assert server.get("http://127.0.0.1:8084/") == "good\n"
    print(figures)
    assert figures.failures == 0
