"""A finding: a check, its verdict, and the command that mends what is wrong."""

from dataclasses import dataclass, replace
from enum import StrEnum

from tinyci.doctor.problems import Problem, check_of

NEEDS_ROOT = "needs root"


class Verdict(StrEnum):
    OK = "ok"
    WRONG = "wrong"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Finding:
    """One check of one thing."""

    check: str
    """Name of the check; stable, for scripts."""
    verdict: Verdict
    sentence: str
    """The state of the thing, and when it is wrong why that matters; for an unchecked one, why it is unchecked."""
    mend: str = ""
    """A shell command for root. Empty when a person has to decide: the sentence says what."""
    problem: str = ""
    """When it is wrong, the key of the problem (problems.py)."""
    about: str = "host"
    """`host`, `user NAME` or `repo NAME`."""


def ok(check: str, sentence: str) -> Finding:
    return Finding(check, Verdict.OK, sentence)


def wrong(problem: Problem, sentence: str, mend: str = "", *, name: str = "") -> Finding:
    """`name`: in place of the `*` of the problem's check."""
    key = problem.key(name)
    return Finding(check_of(key), Verdict.WRONG, sentence, mend, key)


def unchecked(check: str, reason: str = NEEDS_ROOT) -> Finding:
    return Finding(check, Verdict.UNCHECKED, reason)


def of(about: str, findings: list[Finding]) -> list[Finding]:
    """The findings, of that subject."""
    return [replace(each, about=about) for each in findings]
