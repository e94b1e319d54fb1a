"""Requests of callers, and their refusals as errors of D-Bus."""

from collections.abc import Awaitable, Mapping
from typing import Protocol, TypeVar

from tinyci.api.longpoll import PositionError
from tinyci.dbus import names
from tinyci.dbus.bus import ReplyError
from tinyci.model.repo import Repo

T = TypeVar("T")


class RequestError(Exception):
    """A request that cannot be carried out. `name` is the last part of the D-Bus error's name, such as NoSuchJob."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Requests(Protocol):
    """All that callers may request. All methods raise RequestError; those that make a job return its id."""

    @property
    def paused(self) -> bool:
        """True if no job begins."""

    @property
    def repos(self) -> Mapping[str, Repo]:
        """The repos by name."""

    async def cancel(self, job_id: str) -> None:
        """End a job that waits or builds."""

    async def retry(self, job_id: str, pusher: str) -> str:
        """Make a job for the revision of another one."""

    async def deploy(self, repo: str, ref: str, pusher: str) -> str:
        """Make a job for the revision that a ref (its full name) has when the build begins. With an empty `ref` it is
        that of the repo's newest job that was not rejected, else the only one that the repo deploys."""

    async def rollback(self, repo: str, job_id: str, pusher: str) -> str:
        """Make a job that deploys again what another one of the repo deployed. With an empty `job_id` it is the last
        successful one whose images are not those that the newest successful one deployed."""

    async def pause(self, *, paused: bool) -> None:
        """Begin no job any more, or begin them again."""


async def carry_out(request: Awaitable[T]) -> T:
    """Return what the request returns. Raises ReplyError if it raises RequestError or PositionError."""
    try:
        return await request
    except RequestError as error:
        raise ReplyError(f"{names.ERROR}.{error.name}", str(error)) from None
    except PositionError as error:
        raise ReplyError(names.INVALID_ARGS, str(error)) from None
