"""One booted host for all tests here, provisioned by the project's playbooks.

TINYCI_TEST_HOST names a host that is up already, and that stays up: for work on the tests themselves.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import testinfra
from testhost import HOST, TREE, TestHost, Work


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, help="how often the kill loops kill (a soak: 200)")
    parser.addoption("--deploys", type=int, default=5, help="how many deploys images are counted after (a soak: 30)")
    parser.addoption("--jobs", type=int, default=100, help="how many jobs in a row leave nothing (a soak: 10000)")
    parser.addoption("--outage", type=float, default=2, help="seconds that who is told of deploys is away (a soak: 60)")
    parser.addoption("--followers", type=int, default=50, help="how many follow one job (a load: 500)")
    parser.addoption("--kept", type=int, default=1000, help="how many jobs are kept meanwhile (a load: 10000)")
    parser.addoption("--hostile-minutes", type=float, default=0.5, help="how long a user attacks (a soak: 10)")
    parser.addoption("--rootful", action="store_true", help="try each way to run a container as root as well (a soak)")
    parser.addoption("--seed", type=int, default=None, help="of the kill loops; printed by each run")


@pytest.fixture(scope="session")
def server() -> Iterator[TestHost]:
    name = os.environ.get("TINYCI_TEST_HOST")
    if name:
        yield TestHost(name)
        return
    host = TestHost(f"tests-{os.getpid()}")
    try:
        host.host("up", host.name)
        yield host
    finally:
        host.host("down", host.name)


@pytest.fixture(scope="session")
def testinfra_host(server: TestHost) -> testinfra.host.Host:
    """The server as pytest-testinfra sees it, over SSH as its admin."""
    path = os.popen(f"{HOST} ssh-config {server.name}").read().strip()
    return testinfra.get_host(f"ssh://{server.name}?sudo=true", ssh_config=path)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Work]:
    """A person's clone for a repo of the host, one per repo: what was pushed before is in it."""
    clones: dict[str, Work] = {}

    def clone(repo: str) -> Work:
        if repo not in clones:
            path = tmp_path_factory.mktemp(repo) / repo
            sample = TREE / "tests" / "apps" / repo.removesuffix("-root" if repo == "hello-socket-root" else "")
            if sample.is_dir():
                shutil.copytree(sample, path, ignore=shutil.ignore_patterns("unit"))
            clones[repo] = Work(Path(path), repo)
            clones[repo].commit({}, "First")
        return clones[repo]

    return clone
