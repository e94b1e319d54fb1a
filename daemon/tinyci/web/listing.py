"""A list of jobs, page by page: filters and places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import urlencode

from tinyci.model.state import BAD, LIVE, State
from tinyci.web.jobcache import IndexedJob
from tinyci.web.jobview import JobView

STATES = tuple(str(state) for state in State)
GROUPS: Mapping[str, frozenset[State]] = {"live": LIVE, "unsuccessful": BAD}
"""Words for several states at once."""
_MOST = 500
_LONGEST = 400


class QueryError(ValueError):
    """A query that cannot be answered; one sentence without its period."""


@dataclass(frozen=True, slots=True)
class Query:
    """A request for some jobs. Empty texts filter nothing."""

    repo: str = ""
    ref: str = ""
    """Its full name, or as git shortens it."""
    state: str = ""
    """A word of STATES or GROUPS."""
    limit: int = 50
    after: str = ""
    """The place of the job before the first one."""

    @classmethod
    def parse(cls, parameters: Mapping[str, str], limit: int = 50) -> "Query":
        """The query of a request's parameters; unknown names are ignored. Raises QueryError."""
        state = parameters.get("state", "")
        if state and state not in STATES and state not in GROUPS:
            raise QueryError(f"there is no such state: expected one of {', '.join((*STATES, *GROUPS))}")
        count = parameters.get("limit", "")
        if count and not (count.isascii() and count.isdecimal() and len(count) < 5 and 1 <= int(count) <= _MOST):
            raise QueryError(f"limit is no number from 1 to {_MOST}")
        after = parameters.get("after", "")
        if after:
            _parse_place(after)
        for name in ("repo", "ref"):
            if len(parameters.get(name, "")) > _LONGEST:
                raise QueryError(f"{name} is longer than {_LONGEST} characters")
        return cls(parameters.get("repo", ""), parameters.get("ref", ""), state, int(count or limit), after)

    def matches(self, job: JobView) -> bool:
        return (
            (not self.repo or job.repo == self.repo)
            and (not self.ref or self.ref in (job.ref, job.ref_name))
            and (not self.state or job.state == self.state or job.state in GROUPS.get(self.state, ()))
        )

    @property
    def is_filtered(self) -> bool:
        return bool(self.repo or self.ref or self.state)

    def at(self, after: str) -> "Query":
        return replace(self, after=after)

    def text(self, limit: int = 50) -> str:
        """The query of a URL, with its question mark; `limit` is the default, which is left out."""
        parts = {"repo": self.repo, "ref": self.ref, "state": self.state}
        parts |= {"limit": str(self.limit) if self.limit != limit else "", "after": self.after}
        return "?" + urlencode({name: text for name, text in parts.items() if text}, errors="replace")


class Page(NamedTuple):
    """Some of the jobs that match a query."""

    jobs: list[JobView]
    first: int
    """The number of the first, from 1; 0 when there is none."""
    total: int
    newer: str | None
    """`after` for the page before this one: None when this is the first, empty when that is the first."""
    older: str | None
    """`after` for the next page; None when this is the last."""


def page(index: Sequence[IndexedJob], query: Query) -> Page:
    """The page that the query asks for. `index` is newest first."""
    matches = [entry for entry in index if query.matches(entry.job)] if query.is_filtered else index
    begin = 0
    if query.after:
        place = _parse_place(query.after)
        # The job may be gone by now; its place is not.
        begin = next((at for at, entry in enumerate(matches) if (entry.time, entry.id) < place), len(matches))
    part = matches[begin : begin + query.limit]
    newer = None
    if begin:
        newer = _format_place(matches[begin - query.limit - 1]) if begin > query.limit else ""
    older = _format_place(part[-1]) if part and begin + query.limit < len(matches) else None
    return Page([entry.job for entry in part], begin + 1 if part else 0, len(matches), newer, older)


def _format_place(entry: IndexedJob) -> str:
    return f"{entry.time!r}_{entry.id}"


def _parse_place(text: str) -> tuple[float, str]:
    time, line, job_id = text.partition("_")
    try:
        if not line or len(time) > 40:
            raise ValueError
        return float(time), job_id
    except ValueError:
        raise QueryError("after is no place in the list: expected what an earlier page told") from None
