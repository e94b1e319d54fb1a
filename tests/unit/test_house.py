"""Names, docstrings and files of the product keep the limits of STYLE.md; tests/house.py counts and lists them."""

import house
import pytest
from house import PRODUCT, Figures, Place


@pytest.fixture(scope="module")
def figures() -> Figures:
    return house.count(PRODUCT)


def listed(places: list[Place]) -> str:
    return "\n" + "\n".join(map(str, places))


def test_names_are_nouns(figures: Figures) -> None:
    assert figures.participles_per_thousand <= 4, listed(figures.participles)


def test_docstrings_state_and_do_not_ask(figures: Figures) -> None:
    assert figures.questions_percent <= 2, listed(figures.questions)


def test_booleans_are_passed_by_name(figures: Figures) -> None:
    assert not figures.positional_booleans, listed(figures.positional_booleans)


def test_exceptions_are_named_so(figures: Figures) -> None:
    assert len(figures.exceptions) <= 4, listed(figures.exceptions)


def test_files_are_short(figures: Figures) -> None:
    assert figures.longest.line <= 400, figures.longest


def test_the_top_level_is_a_plan() -> None:
    entries = {path.name for path in PRODUCT.iterdir()} - {"__init__.py", "py.typed", "__pycache__"}
    assert len(entries) <= 16, sorted(entries)


@pytest.mark.parametrize(
    ("name", "is_participle"),
    [
        ("found", True),
        ("_known", True),
        ("expected", True),
        ("repo", False),
        ("created_at", False),
        ("need", False),
        ("set", False),
        ("Refused", False),
    ],
)
def test_a_participle_is_known_by_its_form(name: str, *, is_participle: bool) -> None:
    assert house.is_participle(name) is is_participle
