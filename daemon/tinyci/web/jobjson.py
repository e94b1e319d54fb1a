"""One job as JSON, by the names of its hash: times are ISO 8601 in UTC, durations seconds, null for no value."""

from collections.abc import Mapping
from typing import Any

from tinyci.model.fields import FIELDS, Field, Type
from tinyci.model.text import utf8
from tinyci.web.jobview import JobView
from tinyci.web.text import iso


def as_json(job: JobView) -> dict[str, Any]:
    """The object of a job in a list."""
    values = {field.name: _value(field, job) for field in FIELDS if field.in_json}
    if not job.is_final:
        values["success"] = None
    return {"id": job.id, **values}


def _value(field: Field, job: JobView) -> Any:
    value = getattr(job, field.name)
    return iso(value) or None if field.type is Type.TIME else value


def with_output(job: JobView, fields: Mapping[str, str]) -> dict[str, Any]:
    """The object of a job on its own, with the end of its output out of its hash."""
    return as_json(job) | {
        "failure": job.failure,
        "output": utf8(fields.get("output", "")),
        "unit_output": utf8(fields.get("unit_output", "")),
    }
