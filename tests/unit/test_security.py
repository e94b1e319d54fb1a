"""SECURITY.md names tests that are there."""

import re
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
PAGE = (TREE / "SECURITY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE))))
def test_a_test_that_it_names_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    assert (TREE / file).exists()
    assert not name or re.search(rf"^(?:async )?def {name}\(", (TREE / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_each_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert all("`tests/" in row for row in rows)
