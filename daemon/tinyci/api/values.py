"""Texts of a job's hash as values of D-Bus."""

import math

from tinyci.model import text
from tinyci.model.fields import Type

Value = str | bool | int | float


def value_of(type: Type, value: str) -> Value:
    """Convert the text of a field to its D-Bus type. A text that is missing or malformed is empty, False, 0, or -1 for
    an exit status; a whole number beyond its type is the nearest one."""
    match type:
        case Type.FLAG:
            return value == "true"
        case Type.COUNT:
            return _integer(value, 0, 0, 2**32 - 1)
        case Type.STATUS:
            return _integer(value, -1, -(2**31), 2**31 - 1)
        case Type.DURATION:
            return _float(value)
        case Type.TEXT | Type.TIME:
            return string(value)


def string(value: str) -> str:
    """Escape what a D-Bus string cannot hold: NUL, and bytes that were not UTF-8."""
    return text.utf8(value.replace("\0", "\\0"))


def _integer(value: str, default: int, least: int, most: int) -> int:
    try:
        return min(max(int(value), least), most)
    except ValueError:
        return default


def _float(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0
