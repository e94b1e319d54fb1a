"""A simulated server for each test, with its daemon ready."""

from collections.abc import Iterator

import pytest
from simulatedserver import SimulatedServer


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    server = SimulatedServer()
    server.wait_ready()
    yield server
    server.close()
