"""The table of tests/bench says of each goal whether it is met."""

import pytest
from measurement import Row, Sample, milliseconds, number, table


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (100.4, "100"), (12.34, "12.3"), (1.234, "1.23"), (0, "0.00"), (-12.34, "-12.3")],
)
def test_a_figure_has_the_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_a_sample_shows_its_median_and_its_range() -> None:
    assert str(milliseconds([0.1, 0.3, 0.2])) == "200 ms (100 to 300)"
    assert str(Sample((7.9,), "jobs/s")) == "7.90 jobs/s"


@pytest.mark.parametrize(
    ("row", "goal", "met"),
    [
        (Row("as fast", Sample((2.0,), "s"), Sample((2.0,), "s"), ratio_limit=1.0), "≤ 1", "yes"),
        (Row("slower", Sample((2.0,), "s"), Sample((2.1,), "s"), ratio_limit=1.0), "≤ 1", "**no**"),
        (Row("a rate", Sample((4.0,), "/s"), Sample((1.0,), "/s"), ratio_limit=0.25, is_rate=True), "≥ 0.25", "yes"),
        (
            Row("too low", Sample((4.0,), "/s"), Sample((0.9,), "/s"), ratio_limit=0.25, is_rate=True),
            "≥ 0.25",
            "**no**",
        ),
        (Row("small", None, Sample((32.0,), "MB"), limit=32.0), "≤ 32 MB", "yes"),
        (Row("big", None, Sample((33.0,), "MB"), limit=32.0), "≤ 32 MB", "**no**"),
        (Row("no goal", None, Sample((33.0,), "MB")), "", ""),
    ],
    ids=lambda value: value.name if isinstance(value, Row) else None,
)
def test_a_row_tells_if_its_goal_is_met(row: Row, goal: str, met: str) -> None:
    assert row.cells()[-2:] == (goal, met)


def test_the_table_is_markdown() -> None:
    assert table(("what", "time"), [("a push", "1 s")]) == "| what | time |\n| --- | --- |\n| a push | 1 s |\n"
