"""The sample apps, run by root and by another user: what is deployed to containers."""

from collections.abc import Callable, Iterator

import pytest
from app import App
from testhost import TestHost, Work

# These take minutes, and root's containers differ from a user's in what the other files try.
_ROOTLESS_FILES = (
    "test_builds",
    "test_healthchecks",
    "test_reasons",
    "test_survivors",
    "test_unit_ends",
    "test_ways",
)
_ROOTFUL = ("rootful", "probe-root")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--rootful"):
        return
    rest = [item for item in items if item.path.stem in _ROOTLESS_FILES and any(word in item.name for word in _ROOTFUL)]
    config.hook.pytest_deselected(items=rest)
    items[:] = [item for item in items if item not in rest]


@pytest.fixture(params=["rootless", "rootful"])
def app(request: pytest.FixtureRequest, server: TestHost, work: Callable[[str], Work]) -> Iterator[App]:
    """A sample app that a Quadlet runs."""
    if request.param == "rootless":
        sample = App(server, work("hello-quadlet"), "hello-quadlet", "hello-quadlet", 8081, 8081)
    else:
        sample = App(server, work("hello-root"), "hello-root", "root", 8083, 80)
    yield sample
    sample.commit()  # a good version again, for whoever pushes next


@pytest.fixture
def rootless(server: TestHost, work: Callable[[str], Work]) -> Iterator[App]:
    """The one of them that a user without privileges runs."""
    sample = App(server, work("hello-quadlet"), "hello-quadlet", "hello-quadlet", 8081, 8081)
    yield sample
    sample.commit()
