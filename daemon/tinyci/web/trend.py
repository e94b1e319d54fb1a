"""How long deploys of a repo took, the last ones as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tinyci.web.jobview import JobView
from tinyci.web.repostatus import CONCLUSIVE

MOST = 40
WIDTH, HEIGHT = 720, 96
_GAP = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """A deploy, in units of the picture: from the top left."""

    row: JobView
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The last deploys, the oldest first; lengths in seconds."""

    bars: list[Bar]
    longest: float
    median: float | None
    """Of those that succeeded."""
    before: float | None
    """The median of the older half of those, to compare with that of the newer half."""
    lately: float | None


def trend(jobs: Sequence[JobView]) -> Trend | None:
    """`jobs` is newest first; None when there are fewer than two to compare."""
    rows = [row for row in jobs if row.state in CONCLUSIVE and row.took is not None][:MOST][::-1]
    if len(rows) < 2:
        return None
    longest = max(row.took or 0.0 for row in rows) or 1.0
    step = WIDTH / max(len(rows), 12)
    bars = []
    for place, row in enumerate(rows):
        height = max(2.0, HEIGHT * (row.took or 0.0) / longest)
        bars.append(
            Bar(row, round(place * step, 2), round(HEIGHT - height, 2), round(step - _GAP, 2), round(height, 2))
        )
    good = [row.took for row in rows if row.state == "succeeded" and row.took is not None]
    half = len(good) // 2
    return Trend(
        bars,
        longest,
        median(good) if good else None,
        median(good[:half]) if half >= 2 else None,
        median(good[half:]) if half >= 2 else None,
    )
