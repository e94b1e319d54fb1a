"""A kept job as the pages have it: the fields of its hash, parsed and bounded, whatever the hash holds."""

import math
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any

from tinyci.model import timestamp
from tinyci.model.fields import FIELDS, Field, Type
from tinyci.model.job import is_id
from tinyci.model.repo import is_name
from tinyci.model.state import CONCLUSIVE, FINAL, LIVE, TABLE, Kind, Row, State
from tinyci.model.text import short_ref
from tinyci.web.text import plain

UNKNOWN = "unknown"
"""State of a job without a hash, and kind of any text that is no state."""

_SHOWN = tuple(
    field for field in FIELDS if field.in_json or field.name in ("build_started", "restart_started", "failure")
)
FIELD_NAMES = tuple(field.name for field in _SHOWN)
"""Fields of the hash that a JobView has."""
_SHARED = frozenset({"repo", "ref", "pusher", "state", "user"})
"""Fields with the same text in many jobs, held in memory once."""
_ROWS: Mapping[str, Row] = {str(state): row for state, row in TABLE.items()}
_LATEST = 253402300799.0
"""The last second that a date has."""


class JobView:
    """An attribute for each of FIELD_NAMES; nothing changes one after the constructor.

    Texts are one line each, of a bounded length; times are seconds since the epoch, durations seconds.
    """

    __slots__ = ("id", *FIELD_NAMES)

    # Attributes that the pages go by; JSON takes the others too.
    id: str
    repo: str
    ref: str
    revision: str
    previous: str
    pusher: str
    state: str
    """A word of State, or any other text of the hash."""
    reason: str
    attempt: int
    exit_status: int | None
    rollback_to: str
    image: str
    running_image: str
    unit: str
    user: str
    created: float | None
    started: float | None
    finished: float | None
    build_started: float | None
    restart_started: float | None
    build_duration: float | None
    restart_duration: float | None
    verify_duration: float | None
    failure: str
    """Why it was rolled back."""

    def __init__(self, job_id: str, fields: Mapping[str, str] | None, index_time: float | None = None) -> None:
        """Parse `fields` of FIELD_NAMES as far as they are there; None means that the key is no hash."""
        self.id = plain(job_id, 64)
        texts = fields or {}
        for field in _SHOWN:
            setattr(self, field.name, _parse(field, texts.get(field.name, "")))
        if fields is None:
            self.reason = "what Redis has under its key is no hash"
        elif not fields:
            self.reason = "the index names it, and Redis has no more of it"
        if not self.state:
            self.state = str(State.QUEUED) if fields else UNKNOWN
        if self.created is None:
            self.created = _sane(index_time)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def is_good(self) -> bool:
        return self.kind == Kind.GOOD

    @property
    def is_conclusive(self) -> bool:
        """True if its state says something of the repo, not of what people did."""
        return self.state in CONCLUSIVE

    @property
    def kind(self) -> str:
        """A word of Kind, or UNKNOWN: the class of its looks."""
        row = _ROWS.get(self.state)
        return str(row.kind) if row else UNKNOWN

    @property
    def known_state(self) -> str:
        """A word of State, or UNKNOWN."""
        return self.state if self.state in _ROWS else UNKNOWN

    @property
    def sign(self) -> str:
        """One character beside the state, so that colour is not alone."""
        row = _ROWS.get(self.state)
        return row.sign if row else "?"

    @property
    def stage(self) -> str:
        """The stage that it is in; empty when it is not live."""
        row = _ROWS.get(self.state)
        return row.stage if row else ""

    @property
    def is_linked(self) -> bool:
        """True if it has a page; the index may name anything."""
        return is_id(self.id)

    @property
    def has_repo(self) -> bool:
        """True if its repo has a page; the hash may name anything."""
        return is_name(self.repo)

    @property
    def short(self) -> str:
        return self.id[:8]

    @property
    def title(self) -> str:
        return f"{self.repo or 'job'} {self.state} · {self.short}"

    @property
    def waited(self) -> float | None:
        """Seconds from the push to the begin of its build."""
        return _between(self.created, self.started)

    @property
    def took(self) -> float | None:
        """Seconds from the begin of its build to its end."""
        return _between(self.started, self.finished)

    @property
    def ref_name(self) -> str:
        """Its ref as git shortens it."""
        return short_ref(self.ref)


def _parse(field: Field, text: str) -> Any:
    if field.type is not Type.TEXT:
        return _PARSERS[field.type](text)
    line = plain(text, field.max_length)
    return intern(line) if field.name in _SHARED else line


def _time(text: str) -> float | None:
    return _sane(timestamp.seconds(text))


def _sane(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds <= _LATEST else None


def _number(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) < 2**31 else None


def _count(text: str) -> int:
    return _number(text) or 0


def _duration(text: str) -> float | None:
    try:
        duration = float(text)
    except ValueError:
        return None
    return duration if math.isfinite(duration) and 0 <= duration < 1e9 else None


def _flag(text: str) -> bool:
    return text == "true"


_PARSERS: Mapping[Type, Callable[[str], Any]] = {
    Type.TIME: _time,
    Type.DURATION: _duration,
    Type.COUNT: _count,
    Type.STATUS: _number,
    Type.FLAG: _flag,
}


def _between(first: float | None, last: float | None) -> float | None:
    return last - first if first is not None and last is not None and last >= first else None
