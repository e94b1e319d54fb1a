"""Measurements: samples of one quantity, and the rows of the table that they become."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEADING = ("what", "reference", "tinyci", "ratio", "goal", "met")


@dataclass(frozen=True)
class Sample:
    """Values of one quantity, in one unit."""

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        """Return the median, with the range if there is one: `12.5 ms (11.9 to 20.1)`."""
        text = f"{number(self.median)} {self.unit}"
        if len(self.values) > 1:
            text += f" ({number(min(self.values))} to {number(max(self.values))})"
        return text


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    reference: Sample | None
    """The same done without tinyci, or in the small case."""
    product: Sample
    ratio_limit: float | None = None
    """The goal: the highest ratio of the medians; for a rate, the lowest."""
    limit: float | None = None
    """The goal: the highest value of tinyci's own."""
    is_rate: bool = False
    """More is better."""

    @property
    def ratio(self) -> float | None:
        return self.product.median / self.reference.median if self.reference else None

    @property
    def is_met(self) -> bool:
        if self.ratio_limit is not None and self.ratio is not None:
            return self.ratio >= self.ratio_limit if self.is_rate else self.ratio <= self.ratio_limit
        return self.limit is None or self.product.median <= self.limit

    @property
    def goal(self) -> str:
        if self.ratio_limit is not None:
            return f"{'≥' if self.is_rate else '≤'} {self.ratio_limit:g}"
        return "" if self.limit is None else f"≤ {self.limit:g} {self.product.unit}"

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = ("yes" if self.is_met else "**no**") if self.goal else ""
        return (self.name, str(self.reference or "-"), str(self.product), ratio, self.goal, met)


def milliseconds(seconds: Iterable[float]) -> Sample:
    return Sample(tuple(1000 * value for value in seconds), "ms")


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(heading: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    rows = [heading, ["---"] * len(heading), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def median_line(name: str, steps: Sequence[Sequence[float]], unit: str) -> list[str]:
    """Return a line of medians, one for each of the samples."""
    return [name, *(f"{number(statistics.median(step))} {unit}" if step else "-" for step in steps)]
