"""What tinyci-notify knows of a job: one event of `tinyci:events`, and some of the hash."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinyci.model.job import is_id
from tinyci.model.repo import is_name
from tinyci.model.state import FINAL
from tinyci.model.timestamp import duration
from tinyci.notify.plain import line, tail

UNNAMED = "?"
"""Instead of the name of a repo that is none: no repo is called so."""

_OUTPUT_LINES = 12
_OUTPUT = 1200
"""Characters of the output that are kept."""


class JobEvent(NamedTuple):
    """All texts are of plain characters, on one line but for `output`, and bounded; empty where nothing is known."""

    job: str
    repo: str
    ref: str
    revision: str
    pusher: str
    state: str
    reason: str
    at: str
    """When it was written, as job.stamp() has it."""
    took: str = ""
    """Seconds from its beginning to its end."""
    output: str = ""
    """The last lines of it."""

    @classmethod
    def parse(cls, fields: Mapping[str, str]) -> "JobEvent | None":
        """The event of an entry of the stream, when it tells of the end of a job."""
        state, job = fields.get("state", ""), fields.get("job", "")
        if state not in FINAL:
            return None
        repo = fields.get("repo", "")
        return cls(
            job=job if is_id(job) else "",
            repo=repo if is_name(repo) else UNNAMED,
            ref=line(fields.get("ref", ""), 200),
            revision=line(fields.get("revision", ""), 64),
            pusher=line(fields.get("pusher", ""), 100),
            state=state,
            reason=line(fields.get("reason", ""), 500),
            at=line(fields.get("at", ""), 40),
        )

    def with_details(self, values: Mapping[str, str]) -> "JobEvent":
        """With what the hash has besides."""
        seconds = duration(values.get("started", ""), values.get("finished", ""))
        took = f"{seconds:.1f}" if seconds is not None else ""
        return self._replace(took=took, output=tail(values.get("output", ""), _OUTPUT_LINES, _OUTPUT))

    @classmethod
    def load(cls, kept: Any) -> "JobEvent":
        """What `_asdict()` was made of. Raises ValueError or TypeError."""
        if not isinstance(kept, dict) or not all(isinstance(text, str) for text in kept.values()):
            raise ValueError("not an event")
        return cls(**kept)
