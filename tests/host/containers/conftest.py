"""The sample apps, run by root and by another user: what is deployed to containers."""

from collections.abc import Callable

import pytest
from app import App
from box import Box, Work


@pytest.fixture(params=["rootless", "rootful"])
def app(request: pytest.FixtureRequest, box: Box, work: Callable[[str], Work]) -> App:
    """A sample app that a Quadlet runs."""
    if request.param == "rootless":
        return App(box, work("hello-quadlet"), "hello-quadlet", "hello-quadlet", 8081, 8081)
    return App(box, work("hello-root"), "hello-root", "root", 8083, 80)
