"""The end of a job, as an entry of `tinyci:events` and some fields of the job's hash tell it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinyci.model.job import is_id
from tinyci.model.repo import is_name
from tinyci.model.state import FINAL
from tinyci.model.timestamp import duration
from tinyci.notify.plaintext import last_lines, one_line

UNKNOWN_REPO = "?"
"""Stands for a name that no repo can have."""

_OUTPUT_LINES = 12
_OUTPUT_LENGTH = 1200


class JobEvent(NamedTuple):
    """One event. Its texts are plain (plaintext.py), bounded, on one line except `output`, and empty if unknown.

    memory.json has these names as keys.
    """

    job: str
    repo: str
    ref: str
    revision: str
    pusher: str
    state: str
    reason: str
    at: str
    """Timestamp of the entry (model/timestamp.py)."""
    took: str = ""
    """Seconds from the job's start to its end."""
    output: str = ""
    """The last lines of the output."""

    @classmethod
    def parse(cls, fields: Mapping[str, str]) -> "JobEvent | None":
        """Return the event of an entry of the stream; None if the entry is not the end of a job."""
        state, job = fields.get("state", ""), fields.get("job", "")
        if state not in FINAL:
            return None
        repo = fields.get("repo", "")
        return cls(
            job=job if is_id(job) else "",
            repo=repo if is_name(repo) else UNKNOWN_REPO,
            ref=one_line(fields.get("ref", ""), 200),
            revision=one_line(fields.get("revision", ""), 64),
            pusher=one_line(fields.get("pusher", ""), 100),
            state=state,
            reason=one_line(fields.get("reason", ""), 500),
            at=one_line(fields.get("at", ""), 40),
        )

    def with_details(self, fields: Mapping[str, str]) -> "JobEvent":
        """Return the event with duration and output, from fields of the job's hash."""
        seconds = duration(fields.get("started", ""), fields.get("finished", ""))
        took = f"{seconds:.1f}" if seconds is not None else ""
        return self._replace(took=took, output=last_lines(fields.get("output", ""), _OUTPUT_LINES, _OUTPUT_LENGTH))

    @classmethod
    def load(cls, values: Any) -> "JobEvent":
        """Return the event that `_asdict()` was called on. Raises ValueError or TypeError."""
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            raise ValueError("not an event")
        return cls(**values)
