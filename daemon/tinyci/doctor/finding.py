"""A finding: what was checked, whether it holds, and what to do about it."""

from dataclasses import dataclass, replace
from enum import StrEnum

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
    """What is, and when it is wrong why that matters; for an unchecked one, why it is unchecked."""
    mend: str = ""
    """A shell command for root. Empty when a person has to decide: the sentence says what."""
    about: str = "host"
    """`host`, `user NAME` or `repo NAME`."""


def ok(check: str, sentence: str) -> Finding:
    return Finding(check, Verdict.OK, sentence)


def wrong(check: str, sentence: str, mend: str = "") -> Finding:
    return Finding(check, Verdict.WRONG, sentence, mend)


def unchecked(check: str, why: str = NEEDS_ROOT) -> Finding:
    return Finding(check, Verdict.UNCHECKED, why)


def of(about: str, findings: list[Finding]) -> list[Finding]:
    return [replace(each, about=about) for each in findings]
