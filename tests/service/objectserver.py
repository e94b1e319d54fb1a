"""The product's ObjectServer on the test's bus, with a FakeRequests behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fakerequests import FakeRequests
from tinyci.api.objects import ObjectServer
from tinyci.model import repo
from tinyci.model.repo import Repo


def object_server(requests: FakeRequests, *names: str) -> ObjectServer:
    """Return a server that is not connected yet, with repos of those names."""
    requests.repos = {name: repo_of(name) for name in names}
    return ObjectServer(requests, requests)


@asynccontextmanager
async def serving(requests: FakeRequests, *names: str) -> AsyncIterator[ObjectServer]:
    """Connect a server with repos of those names to the fixture `system_bus`, for a while."""
    server = object_server(requests, *names)
    await server.connect()
    yield server
    await server.close()


def repo_of(name: str) -> Repo:
    return repo.parse(
        f"{name}.toml", f'repository = "/srv/git/{name}.git"\nuser = "{name}"\nunits = ["{name}.service"]'
    )
