"""Each field of a job's hash is described once, and whoever goes by fields finds theirs in the list."""

import re
from collections import Counter

import pytest
from tinyci.model import fields
from tinyci.model.fields import FIELDS, SIGNATURES, Field, Type
from tinyci.model.job import Job
from tinyci.store import scripts, writer

BY_FIELD = {field.name: field for field in FIELDS}


def test_each_name_and_each_property_is_there_once() -> None:
    names = Counter(field.name for field in FIELDS)
    properties = Counter(field.property_name for field in FIELDS if field.property_name)
    assert set(names.values()) == set(properties.values()) == {1}


def test_they_are_found_by_name() -> None:
    assert fields.BY_NAME == BY_FIELD


def test_every_attribute_of_a_job_is_a_field() -> None:
    assert set(Job._fields) - {"id"} <= set(BY_FIELD)


@pytest.mark.parametrize("field", [field for field in FIELDS if field.property_name], ids=lambda field: field.name)
def test_a_property_is_called_as_its_field(field: Field) -> None:
    words = re.findall("[A-Z]+(?![a-z])|[A-Z][a-z]+", field.property_name)
    assert "_".join(word.lower() for word in words) == field.name


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_is_described_in_a_sentence(field: Field) -> None:
    assert re.fullmatch(r"[A-Z1].*\.", field.sentence)


def test_every_type_has_a_signature() -> None:
    assert set(SIGNATURES) == set(Type)


def test_what_the_index_and_events_repeat_are_fields() -> None:
    assert {*writer._KEPT_FIELDS, *scripts.REPEATED_FIELDS} <= set(BY_FIELD)
