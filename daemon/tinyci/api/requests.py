"""What people may ask for, and how it is refused."""

from typing import Protocol


class RequestError(Exception):
    """What was asked for cannot be done; `name` is the last part of a D-Bus error's name, such as NoSuchJob."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Requests(Protocol):
    """Who carries requests out. All raise RequestError."""

    @property
    def paused(self) -> bool:
        """Whether nothing new begins."""

    async def cancel(self, job_id: str) -> None:
        """End a job that waits or builds."""

    async def retry(self, job_id: str, pusher: str) -> str:
        """A new job for the revision of another one; its id."""

    async def deploy(self, repo: str, ref: str, pusher: str) -> str:
        """A new job for what a ref (its full name) is at when its build begins; its id. No `ref`: that of the repo's
        newest job that was not rejected, else the only one that the repo deploys."""

    async def rollback(self, repo: str, job_id: str, pusher: str) -> str:
        """A new job that deploys again what another one of the repo deployed; its id. No `job_id`: the last successful
        one whose images are not those that the newest successful one deployed."""

    async def pause(self, paused: bool) -> None:
        """Begin nothing new, or go on."""
