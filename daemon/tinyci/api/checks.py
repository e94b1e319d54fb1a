"""Checks: the daemon's view of the things that deploys need, as Manager.Diagnose() answers."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tinyci.dbus.bus import Bus


class Check(NamedTuple):
    """The result of one check."""

    name: str
    holds: bool
    sentence: str

    @classmethod
    def success(cls, name: str, sentence: str) -> "Check":
        return cls(name, holds=True, sentence=sentence)

    @classmethod
    def failure(cls, name: str, sentence: str) -> "Check":
        return cls(name, holds=False, sentence=sentence)


class Examiner(Protocol):
    """Makes the checks."""

    async def examine(self, repo: str, bus: Bus | None) -> Sequence[Check]:
        """Check what all deploys need, or with a name what that repo's deploys need. Raises RequestError."""
