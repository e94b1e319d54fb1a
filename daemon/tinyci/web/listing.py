"""Which jobs a list shows: filters, and one page after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import urlencode

from tinyci.web.jobcache import IndexedJob
from tinyci.web.jobview import LIVE, STATES, JobView

GROUPS: Mapping[str, frozenset[str]] = {
    "live": frozenset(LIVE),
    "unsuccessful": frozenset({"failed", "timed-out", "rolled-back", "rejected"}),
}
"""Words for several states at once."""
_MOST = 500
_LONGEST = 400


class QueryError(ValueError):
    """What is wrong with a query; one sentence."""


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for. Empty texts ask for nothing."""

    repo: str = ""
    ref: str = ""
    """Its full name, or as git shortens it."""
    state: str = ""
    """Of STATES or GROUPS."""
    limit: int = 50
    after: str = ""
    """The place of the job before the first one."""

    @classmethod
    def of(cls, given: Mapping[str, str], limit: int = 50) -> "Query":
        """The query of a request. Raises QueryError; of names that it does not know it takes no notice."""
        state = given.get("state", "")
        if state and state not in STATES and state not in GROUPS:
            raise QueryError(f"there is no such state: expected one of {', '.join((*STATES, *GROUPS))}")
        wanted = given.get("limit", "")
        if wanted and not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 5 and 1 <= int(wanted) <= _MOST):
            raise QueryError(f"limit is no number from 1 to {_MOST}")
        after = given.get("after", "")
        if after:
            _place(after)
        for name in ("repo", "ref"):
            if len(given.get(name, "")) > _LONGEST:
                raise QueryError(f"{name} is longer than {_LONGEST} characters")
        return cls(given.get("repo", ""), given.get("ref", ""), state, int(wanted or limit), after)

    def has(self, row: JobView) -> bool:
        """Whether a job is one of those."""
        return (
            (not self.repo or row.repo == self.repo)
            and (not self.ref or self.ref in (row.ref, row.ref_name))
            and (not self.state or row.state == self.state or row.state in GROUPS.get(self.state, ()))
        )

    @property
    def is_filtered(self) -> bool:
        return bool(self.repo or self.ref or self.state)

    def at(self, after: str) -> "Query":
        return replace(self, after=after)

    def text(self, limit: int = 50) -> str:
        """As the query of a URL, with its question mark."""
        parts = {"repo": self.repo, "ref": self.ref, "state": self.state}
        parts |= {"limit": str(self.limit) if self.limit != limit else "", "after": self.after}
        return "?" + urlencode({name: text for name, text in parts.items() if text}, errors="replace")


class Page(NamedTuple):
    """Some of the jobs that a query asks for."""

    rows: list[JobView]
    first: int
    """The number of the first, from 1; 0 when there is none."""
    total: int
    newer: str | None
    """The place to ask for with `after` to see what comes before; None when nothing does, "" for the first page."""
    older: str | None
    """The same for what comes after."""


def page(kept: Sequence[IndexedJob], query: Query) -> Page:
    """`kept` is newest first."""
    found = [each for each in kept if query.has(each.row)] if query.is_filtered else kept
    begin = 0
    if query.after:
        place = _place(query.after)
        # The job may be gone by now; its place is not.
        begin = next((at for at, each in enumerate(found) if (each.time, each.id) < place), len(found))
    part = found[begin : begin + query.limit]
    newer = None
    if begin:
        newer = _name(found[begin - query.limit - 1]) if begin > query.limit else ""
    older = _name(part[-1]) if part and begin + query.limit < len(found) else None
    return Page([each.row for each in part], begin + 1 if part else 0, len(found), newer, older)


def _name(kept: IndexedJob) -> str:
    return f"{kept.time!r}_{kept.id}"


def _place(name: str) -> tuple[float, str]:
    time, line, job_id = name.partition("_")
    try:
        if not line or len(time) > 40:
            raise ValueError
        return float(time), job_id
    except ValueError:
        raise QueryError("after is no place in the list: expected what an earlier page told") from None
