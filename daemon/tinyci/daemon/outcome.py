"""The end of a job: its final state, and why."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from tinyci.model.state import State


class Outcome(NamedTuple):
    """The final state of a job, and the fields that are written with it."""

    state: State
    reason: str
    """One sentence for a person."""
    fields: Mapping[str, str] = MappingProxyType({})
    """More fields of the hash."""


class StoppedError(Exception):
    """The job is over before its last stage."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class AlreadyEndedError(Exception):
    """The job's hash has a final state, which is written once."""


def failed(reason: str) -> StoppedError:
    """The error that ends a job as `failed`."""
    return StoppedError(Outcome(State.FAILED, reason))
