"""Server-sent events: the text of each, and lines of output as events of a moderate size."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tinyci.store.viewer import Line
from tinyci.web import ansi, jobfacts
from tinyci.web.jobstages import stages
from tinyci.web.jobview import JobView
from tinyci.web.text import iso

_MAX_SIZE = 16 * 1024
"""Characters of an event of lines, about: a follower who takes nothing holds one."""


def event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def state_event(job: JobView) -> bytes:
    """An event with all that may change on the page of a job."""
    return event(
        "state",
        {
            "state": job.state,
            "kind": job.kind,
            "sign": job.sign,
            "final": job.is_final,
            "reason": job.reason,
            "title": job.title,
            "facts": jobfacts.facts(job),
            "times": jobfacts.times(job),
            "stages": [stage._asdict() for stage in stages(job)],
            "started": iso(job.started),
        },
    )


@dataclass(frozen=True, slots=True)
class LinesEvent:
    """Some lines of output as one event."""

    lines: tuple[tuple[int, str], ...]
    """The number of each line, and its number and spans as JSON."""
    text: bytes

    @classmethod
    def of(cls, lines: Sequence[tuple[int, str]]) -> "LinesEvent":
        data = ",".join(json_text for _, json_text in lines)
        return cls(tuple(lines), f"id: {lines[-1][0]}\nevent: lines\ndata: [{data}]\n\n".encode())

    @property
    def last(self) -> int:
        """The number of its last line."""
        return self.lines[-1][0]

    def after(self, number: int) -> bytes:
        """The event without the lines up to that number."""
        if self.lines[0][0] > number:
            return self.text
        return self.of([line for line in self.lines if line[0] > number]).text


def lines_events(lines: Sequence[Line]) -> list[LinesEvent]:
    """Render lines, and divide them among events."""
    events: list[LinesEvent] = []
    part: list[tuple[int, str]] = []
    size = 0
    for number, line in lines:
        json_text = json.dumps([number, ansi.spans(line)], separators=(",", ":"))
        if part and size + len(json_text) > _MAX_SIZE:
            events.append(LinesEvent.of(part))
            part, size = [], 0
        part.append((number, json_text))
        size += len(json_text)
    if part:
        events.append(LinesEvent.of(part))
    return events
