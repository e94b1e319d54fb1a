"""The order of versions, as people name their tags: v1.9 before v1.10, v2.0-rc1 before v2.0."""

import re

_PARTS = re.compile(r"[0-9]+|[a-z]+")
_LETTER = re.compile(r"(?<![a-z])v(?=[0-9])")
_BEFORE, _PLAIN, _RELEASE, _NUMBER = range(4)


def order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key for sorting. Numbers count as numbers, and a version comes after those that only lead to it: words
    behind its numbers, such as rc or beta. What follows a plus sign is a build of the same version (semver.org)."""
    version, _, build = _LETTER.sub("", name.lower()).partition("+")
    parts = [_part(text) for text in _PARTS.findall(version)]
    kinds = [kind for kind, _, _ in parts]
    leads_to_one = _NUMBER in kinds and _PLAIN in kinds[kinds.index(_NUMBER) :]
    end = (_BEFORE if leads_to_one else _RELEASE, 0, "")
    return (*parts, end, *(_part(text) for text in _PARTS.findall(build)))


def _part(text: str) -> tuple[int, int, str]:
    if text.isdecimal():
        digits = text.lstrip("0")
        return _NUMBER, len(digits), digits
    return _PLAIN, 0, text
