"""Replies and signals of a manager, checked: any program of the user may be at the other end of a user's bus.

All functions raise NonsenseError. Source: org.freedesktop.systemd1(5), D-Bus Specification ("Valid Object Paths").
"""

import re
from collections.abc import Mapping
from typing import Any

from tinyci.model.repo import is_unit_name

UNIT = "org.freedesktop.systemd1.Unit"
SERVICE = "org.freedesktop.systemd1.Service"
"""The interfaces that a unit has properties of."""
_TEXT_MAX = 1000
"""Characters of a text that are kept."""
_PROPERTIES_MAX = 2000
_UNITS_MAX = 1000
_COMMANDS_MAX = 100
_WORDS_MAX = 200
_RESULTS = (
    *("done", "canceled", "timeout", "failed", "dependency", "skipped", "invalid", "assert"),
    *("unsupported", "collected", "once", "frozen", "concurrency"),
)
_PATH = re.compile(r"/|(/[A-Za-z0-9_]+)+", re.ASCII)
_PATH_MAX = 1000


class NonsenseError(Exception):
    """A reply that no manager gives."""


def path(reply: Any) -> str:
    """Return the object path that is all of a reply."""
    return object_path(_only(reply))


def object_path(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _PATH_MAX or not _PATH.fullmatch(value):
        raise NonsenseError("expected an object path")
    return value


def properties(reply: Any) -> dict[str, Any]:
    """Return the values of the properties that are all of a reply, by name."""
    values = _only(reply)
    if not isinstance(values, dict) or len(values) > _PROPERTIES_MAX:
        raise NonsenseError("expected properties")
    return {text_of(key): _content(variant) for key, variant in values.items()}


def changed_properties(body: Any) -> tuple[str, dict[str, Any]]:
    """Return the interface and the new values of properties that a signal PropertiesChanged tells."""
    if not isinstance(body, list) or len(body) != 3:
        raise NonsenseError("expected an interface, properties and names of properties")
    return text_of(body[0]), properties([body[1]])


def variant_text(reply: Any) -> str:
    """Return the text in the variant that is all of a reply."""
    return text_of(_content(_only(reply)))


def removed_job(body: Any) -> tuple[str, str]:
    """Return the path of the job and its result that a signal JobRemoved tells."""
    if not isinstance(body, list) or len(body) != 4:
        raise NonsenseError("expected a job's id, path, unit and result")
    if body[3] not in _RESULTS:
        raise NonsenseError("expected the result of a job")
    return object_path(body[1]), body[3]


def text_of(value: Any) -> str:
    """Return a text, cut to 1,000 characters."""
    if not isinstance(value, str):
        raise NonsenseError("expected a text")
    return value[:_TEXT_MAX]


def text(values: Mapping[str, Any], key: str) -> str:
    """Return a property that is a text; empty when there is none."""
    return text_of(values.get(key, ""))


def number(values: Mapping[str, Any], key: str, least: int, most: int) -> int:
    """Return a property that is a number of a range; 0 when there is none."""
    value = values.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise NonsenseError(f"expected a number as {key}")
    return value


def flag(values: Mapping[str, Any], key: str) -> bool:
    """Return a property that is true or false; false when there is none."""
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise NonsenseError(f"expected true or false as {key}")
    return value


def command_words(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the words of the command lines that a property lists: each is a path, its arguments, and more."""
    commands = values.get(key, [])
    if not isinstance(commands, list | tuple) or len(commands) > _COMMANDS_MAX:
        raise NonsenseError(f"expected some command lines as {key}")
    words: list[str] = []
    for command in commands:
        if not isinstance(command, list | tuple) or len(command) < 2 or not isinstance(command[1], list | tuple):
            raise NonsenseError(f"expected a path and arguments as {key}")
        words += [text_of(word) for word in (command[0], *command[1][:_WORDS_MAX])]
    return tuple(words)


def invocation(values: Mapping[str, Any]) -> str:
    """Return the InvocationID as hexadecimal digits; empty when the unit never ran."""
    value = values.get("InvocationID", b"")
    if not isinstance(value, bytes) or len(value) not in (0, 16):
        raise NonsenseError("expected 16 bytes as InvocationID")
    return value.hex()


def job(values: Mapping[str, Any], default: str) -> str:
    """Return the path of the job of a unit."""
    value = values.get("Job", (0, default))
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise NonsenseError("expected an id and a path as Job")
    return object_path(value[1])


def units(values: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of units that several properties list."""
    unit_names: list[str] = []
    for key in keys:
        value = values.get(key, [])
        if not isinstance(value, list | tuple) or len(value) > _UNITS_MAX:
            raise NonsenseError(f"expected the names of some units as {key}")
        unit_names += value
    if not all(isinstance(name, str) and is_unit_name(name) for name in unit_names):
        raise NonsenseError("expected the names of units")
    return tuple(unit_names)


def _only(reply: Any) -> Any:
    if not isinstance(reply, list) or len(reply) != 1:
        raise NonsenseError("expected one value")
    return reply[0]


def _content(variant: Any) -> Any:
    if not hasattr(variant, "value"):
        raise NonsenseError("expected a variant")
    return variant.value
