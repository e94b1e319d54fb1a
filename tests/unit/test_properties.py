"""Whatever a hash holds, a job's properties have the D-Bus types that they are said to have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.api.jobobject import path_of, value_of

RANGES = {"u": (0, 2**32 - 1), "i": (-(2**31), 2**31 - 1)}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("s", "", ""),
        ("s", "a\0b", "a\\0b"),
        ("b", "true", True),
        ("b", "false", False),
        ("b", "", False),
        ("b", "True", False),
        ("u", "3", 3),
        ("u", "", 0),
        ("u", "x", 0),
        ("i", "0", 0),
        ("i", "255", 255),
        ("i", "", -1),
        ("i", "x", -1),
        ("d", "1.5", 1.5),
        ("d", "", 0.0),
        ("d", "x", 0.0),
    ],
)
def test_a_field_is_the_value_of_its_property(kind: str, text: str, value: object) -> None:
    found = value_of(kind, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("kind", list(RANGES))
@given(text=st.integers().map(str) | st.text())
def test_a_number_fits_its_type(kind: str, text: str) -> None:
    least, most = RANGES[kind]
    assert least <= value_of(kind, text) <= most


def test_the_path_of_a_job_is_of_fixed_length() -> None:
    path = path_of("0d313b1e-cca8-11ec-8c59-67453021b8a9")
    assert path == "/org/tinyci1/job/_0d313b1ecca811ec8c5967453021b8a9"
