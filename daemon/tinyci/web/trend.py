"""The lengths of a repo's last deploys, as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tinyci.web.jobview import JobView

MOST = 40
"""Deploys in the picture."""
WIDTH, HEIGHT = 720, 96
"""Size of the picture, in its own units."""
_GAP = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """A deploy, in units of the picture, from its top left corner."""

    job: JobView
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The last deploys, oldest first; lengths in seconds."""

    bars: list[Bar]
    longest: float
    median: float | None
    """Of the successful ones."""
    before: float | None
    """Median of the older half of those."""
    lately: float | None
    """Median of the newer half."""


def trend(jobs: Sequence[JobView]) -> Trend | None:
    """The trend of jobs, newest first; None when there are fewer than two to compare."""
    deploys = [job for job in jobs if job.is_conclusive and job.took is not None][:MOST][::-1]
    if len(deploys) < 2:
        return None
    longest = max(job.took or 0.0 for job in deploys) or 1.0
    step = WIDTH / max(len(deploys), 12)
    bars = []
    for place, job in enumerate(deploys):
        height = max(2.0, HEIGHT * (job.took or 0.0) / longest)
        bars.append(
            Bar(job, round(place * step, 2), round(HEIGHT - height, 2), round(step - _GAP, 2), round(height, 2))
        )
    good = [job.took for job in deploys if job.is_good and job.took is not None]
    half = len(good) // 2
    return Trend(
        bars,
        longest,
        median(good) if good else None,
        median(good[:half]) if half >= 2 else None,
        median(good[half:]) if half >= 2 else None,
    )
