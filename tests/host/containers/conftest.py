"""The sample apps, run by root and by another user: what is deployed to containers."""

from collections.abc import Callable, Iterator

import pytest
from app import App
from testhost import TestHost, Work


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
