"""A job's properties have their D-Bus types, whatever its hash holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.api.jobobject import path_of
from tinyci.api.values import value_of
from tinyci.model.fields import Type

RANGES = {Type.COUNT: (0, 2**32 - 1), Type.STATUS: (-(2**31), 2**31 - 1)}


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (Type.TEXT, "", ""),
        (Type.TEXT, "a\0b", "a\\0b"),
        (Type.TIME, "2026-01-02T03:04:05.000006Z", "2026-01-02T03:04:05.000006Z"),
        (Type.FLAG, "true", True),
        (Type.FLAG, "false", False),
        (Type.FLAG, "", False),
        (Type.FLAG, "True", False),
        (Type.COUNT, "3", 3),
        (Type.COUNT, "", 0),
        (Type.COUNT, "x", 0),
        (Type.STATUS, "0", 0),
        (Type.STATUS, "255", 255),
        (Type.STATUS, "", -1),
        (Type.STATUS, "x", -1),
        (Type.DURATION, "1.5", 1.5),
        (Type.DURATION, "", 0.0),
        (Type.DURATION, "x", 0.0),
    ],
)
def test_a_field_is_the_value_of_its_property(type_: Type, text: str, value: object) -> None:
    result = value_of(type_, text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("type_", list(RANGES))
@given(text=st.integers().map(str) | st.text())
def test_a_number_fits_its_type(type_: Type, text: str) -> None:
    least, most = RANGES[type_]
    assert least <= value_of(type_, text) <= most


def test_the_path_of_a_job_is_of_fixed_length() -> None:
    path = path_of("0d313b1e-cca8-11ec-8c59-67453021b8a9")
    assert path == "/org/tinyci1/job/_0d313b1ecca811ec8c5967453021b8a9"
