"""The states of a job: their order, and the looks and the judgement of each.

`python -m tinyci.model.state` prints the table.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """The looks and the judgement that states share."""

    LIVE = "live"
    GOOD = "good"
    SAME = "same"
    """Nothing was new: what runs is what was pushed, and ran before."""
    BAD = "bad"
    """The deploy failed: the repo is in trouble."""
    NEUTRAL = "neutral"
    """People ended the job; it says nothing of the repo."""


class State(StrEnum):
    """The states of a job, by the words that Redis, D-Bus and the journal use."""

    QUEUED = "queued"
    BUILDING = "building"
    RESTARTING = "restarting"
    VERIFYING = "verifying"
    ROLLING_BACK = "rolling-back"
    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled-back"

    @property
    def row(self) -> "Row":
        return TABLE[self]

    @property
    def is_final(self) -> bool:
        return self in FINAL

    @property
    def clause(self) -> str:
        """The state as the verb of a sentence: `failed`, `was cancelled`, `is building`."""
        return f"{self.row.verb} {self}".lstrip()


class Row(NamedTuple):
    """One state in the table."""

    next: frozenset[State]
    """States that may follow; none after a final one."""
    kind: Kind
    sign: str
    """One character beside the word, so that colour is not alone."""
    verb: str = ""
    """The word before the state in a sentence."""
    stage: str = ""
    """The stage that a live job is in."""
    exit_status: int = 0
    """Exit status of commands that end with a job in this final state (tinyci(1))."""


def _next(*states: State) -> frozenset[State]:
    return frozenset(states)


_S, _K = State, Kind
_STOPPED = (_S.FAILED, _S.CANCELLED, _S.TIMED_OUT, _S.REJECTED)
TABLE: Mapping[State, Row] = {
    # To `failed`: the build could not even begin (no gate, no manager), or no attempt is left. To `unchanged`: what was
    # to be rolled back has gone back by itself.
    _S.QUEUED: Row(
        _next(_S.BUILDING, _S.UNCHANGED, _S.SUPERSEDED, _S.CANCELLED, _S.REJECTED, _S.FAILED),
        _K.LIVE,
        "○",
        "is",
        "queue",
    ),
    # To itself: a build that a reboot cut off begins again. To `rejected`: the stage found no such revision.
    # To `succeeded`: a repo without units is deployed when it is built. To `unchanged`: a restart would change nothing.
    _S.BUILDING: Row(
        _next(_S.BUILDING, _S.RESTARTING, _S.SUCCEEDED, _S.UNCHANGED, *_STOPPED), _K.LIVE, "●", "is", "build"
    ),
    # To `failed`: there is nothing to roll back to.
    _S.RESTARTING: Row(_next(_S.VERIFYING, _S.ROLLING_BACK, _S.FAILED), _K.LIVE, "●", "is", "restart"),
    _S.VERIFYING: Row(_next(_S.SUCCEEDED, _S.ROLLING_BACK, _S.FAILED), _K.LIVE, "●", "is", "verify"),
    _S.ROLLING_BACK: Row(_next(_S.ROLLED_BACK, _S.FAILED), _K.LIVE, "●", "is", "rollback"),
    _S.SUCCEEDED: Row(_next(), _K.GOOD, "✓", exit_status=0),
    _S.UNCHANGED: Row(_next(), _K.SAME, "=", "is", exit_status=16),
    _S.FAILED: Row(_next(), _K.BAD, "✗", exit_status=10),
    _S.CANCELLED: Row(_next(), _K.NEUTRAL, "⊘", "was", exit_status=13),
    _S.TIMED_OUT: Row(_next(), _K.BAD, "✗", exit_status=12),
    _S.SUPERSEDED: Row(_next(), _K.NEUTRAL, "»", "was", exit_status=14),
    _S.REJECTED: Row(_next(), _K.BAD, "✗", "was", exit_status=15),
    _S.ROLLED_BACK: Row(_next(), _K.BAD, "↩", "was", exit_status=11),
}


def of_kind(*kinds: Kind) -> frozenset[State]:
    return frozenset(state for state, row in TABLE.items() if row.kind in kinds)


FINAL = frozenset(state for state, row in TABLE.items() if not row.next)
LIVE = frozenset(TABLE) - FINAL
BAD = of_kind(Kind.BAD)
"""States of a failed deploy."""
CONCLUSIVE = of_kind(Kind.GOOD, Kind.SAME, Kind.BAD)
"""States that say whether the repo deploys; the other final ones say what people did."""


def is_final(text: str) -> bool:
    """Return whether a text, which may be anything, is the word of a final state."""
    return text in FINAL


def check_transition(before: State, after: State) -> None:
    """Raise ValueError for a transition that the table does not have: a defect of ours, never of a job's."""
    if after not in TABLE[before].next:
        raise ValueError(f"a job cannot go from {before} to {after}")


def table() -> str:
    """The table as Markdown, states in the order of a job's life."""
    lines = ["| state | kind | sign | exit status | may become |", "|---|---|---|---|---|"]
    for state, row in TABLE.items():
        after = ", ".join(each for each in State if each in row.next) or "–"  # noqa: RUF001 - the dash is meant
        status = str(row.exit_status) if state in FINAL else ""
        lines.append(f"| {state} | {row.kind} | {row.sign} | {status} | {after} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
