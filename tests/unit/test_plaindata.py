"""A plain text is read as the libraries of its format read it, and any other is left to them."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model import plaindata

WORDS = [
    "a",
    "b-c",
    "[a]",
    "[",
    "]",
    "=",
    " = ",
    ",",
    "#",
    '"',
    "'",
    "\\",
    '"x"',
    '["x", "y",]',
    "true",
    "01",
    "15",
    "-1",
]
TOML = st.lists(st.sampled_from([*WORDS, "[a]", "\n", "\t", "\r", "é", "{}", "2026-01-01"]), max_size=9).map("".join)
JSON = st.lists(st.sampled_from(["{", "}", '"', '"a"', '"b c"', ": ", ", ", "1", "\\n", "é"]), max_size=9).map("".join)


@given(TOML)
def test_a_toml_text_means_the_same_to_tomllib(text: str) -> None:
    values = plaindata.toml_table(text)
    if values is not None:
        assert values == tomllib.loads(text)


@given(JSON)
def test_a_json_text_means_the_same_to_json(text: str) -> None:
    values = plaindata.json_object(text.encode())
    if values is not None:
        assert values == json.loads(text)


def test_tables_of_every_plain_value_are_read() -> None:
    text = '# x\nuser = "web"\nrefs = ["refs/a", "refs/b#,"]\nunits = []\n\n[keep]\njobs = 10\nis_on = true\n'
    assert plaindata.toml_table(text) == tomllib.loads(text)


@pytest.mark.parametrize("values", [{"id": "0d31"}, {"id": "0d31", "repo": "web", "rollback_to": ""}])
def test_an_object_of_texts_is_read_as_it_was_written(values: dict[str, str]) -> None:
    assert plaindata.json_object(json.dumps(values).encode()) == values
