"""The table of the ways to run a container names tests that are there."""

import re
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
SECTION = (
    (TREE / "daemon/man/tinyci.service.8.md")
    .read_text(encoding="utf-8")
    .partition("# CONTAINERS OF UNITS")[2]
    .partition("\n# ")[0]
)


TESTS = re.findall(r"^ ?(\d+) (test_\w+\.py)\n +(test_\w+)$", SECTION, re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), [(file, name) for _, file, name in TESTS])
def test_a_test_that_it_names_is_there(file: str, name: str) -> None:
    text = (TREE / "tests/host/containers" / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", text, re.MULTILINE)


def test_each_way_has_a_test() -> None:
    rows = [line.rstrip("| ").rpartition(" ")[2] for line in SECTION.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert set(rows) == {number for number, _, _ in TESTS}
