"""The file of a repo in `/etc/tinyci/repos.d/`: its keys, each with a check.

The hook reads it on every push, and a stage at its start, hence no regular expressions (8 ms) and no `typing` (9 ms).
"""

from __future__ import annotations

import os.path

from tinyci.model.toml import ConfigError, TomlTable

TYPE_CHECKING = False  # of typing, which takes as long to import as half of the hook
if TYPE_CHECKING:
    from collections.abc import Collection

NOTICES = ("failure", "recovery", "deploy", "never")
"""Reasons to notify: a failed deploy, the first success after one, every deploy that ended; never."""

RESTARTS = ("changed", "always")
"""When a deploy restarts its units: if it makes them run something new, or always."""

_DIGITS = frozenset("0123456789")
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_LETTERS = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ALPHANUMERICS = _LETTERS | _DIGITS
_NAME = _ALPHANUMERICS | frozenset("_.-")
_USER = _LOWER | _DIGITS | frozenset("_-")
# systemd.unit(5), "Description": valid characters, and the types that a deploy can restart.
_UNIT = _ALPHANUMERICS | frozenset(":_.\\-")
_UNIT_TYPES = frozenset({"service", "socket", "target", "slice", "path", "timer"})
# RFC 9110, "Field Names".
_HEADER_NAME = _ALPHANUMERICS | frozenset("!#$%&'*+.^_`|~-")
_HEADER_NAME_MAX, _HEADER_MAX = 100, 1000
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))
"""Of ASCII, without the space."""
_BLANKS = frozenset(" \t\n\r\f\v")


def name_of(file: str) -> str:
    """Return the name of a file's repo: the file's without `.toml`. Raises ConfigError."""
    name = os.path.basename(file).removesuffix(".toml")
    if not is_name(name):
        raise ConfigError(f"{file}: expected a file name of letters, digits, '.', '_' and '-', at most 64 long")
    return name


def values(file: str, text: str) -> dict[str, object]:
    """Return the value of each key in the text of a file, times in seconds (model/repo.py). Raises ConfigError."""
    table = TomlTable.load(file, text)
    values: dict[str, object] = {
        "repository": table.text("repository", "the absolute path of a bare repository", _is_clean_absolute),
        "user": table.text("user", 'the name of a user, "root" for the system manager', _is_user),
        "refs": table.texts(
            "refs",
            'a list of full ref names or patterns, such as ["refs/heads/main"]',
            lambda ref: ref.startswith("refs/"),
            ("refs/heads/main", "refs/heads/master"),
        ),
        "units": table.texts("units", 'a list of unit names, such as ["web.service"]', is_unit, ()),
        "script": table.text("script", "a path inside the repository", _is_inside, "ci-build.sh"),
        "timeout": table.span("timeout", "30min", least=1.0),
        "restart_timeout": table.span("restart_timeout", "5min", least=1.0),
        "settle": table.span("settle", "5s"),
        "verify_timeout": table.span("verify_timeout", "2min", least=1.0),
        "health": table.text("health", "an http:// or https:// URL", is_http, ""),
        "health_headers": table.texts(
            "health_headers", 'a list of headers, such as ["Host: web.example.org"]', _is_header, ()
        ),
        "health_status": table.texts(
            "health_status", 'a list of statuses, such as ["2xx", "401"]', _is_status, ("2xx",)
        ),
        "keep_images": table.number("keep_images", 1, 3),
        "restart": table.text("restart", f"a word out of {', '.join(RESTARTS)}", RESTARTS.__contains__, RESTARTS[0]),
        "notify": table.texts("notify", f"a list of words out of {', '.join(NOTICES)}", NOTICES.__contains__, ()),
    }
    table.reject_unknown_keys()
    return values


def matches(refs: Collection[str], ref: str) -> bool:
    """Return whether one of the patterns, as in fnmatch, is that of the full name of a ref."""
    patterns = [pattern for pattern in refs if pattern != ref or _is_pattern(pattern)]
    if len(patterns) < len(refs):
        return True
    patterns = [pattern for pattern in patterns if _is_pattern(pattern)]
    if not patterns:
        return False
    from fnmatch import fnmatchcase  # few repos have a pattern

    return any(fnmatchcase(ref, pattern) for pattern in patterns)


def only_ref(refs: Collection[str]) -> str:
    """Return the one ref that these patterns are of; empty for several, or for a pattern's."""
    (ref,) = refs if len(refs) == 1 else ("",)
    return "" if _is_pattern(ref) else ref


def _is_pattern(ref: str) -> bool:
    return any(character in ref for character in "*?[")


# -- checks ------------------------------------------------------------------------------------------------------------


def is_name(name: str) -> bool:
    """True if a repo may have this name: it becomes a file name, a key and a D-Bus argument."""
    return 0 < len(name) <= 64 and name[0] in _ALPHANUMERICS and _NAME.issuperset(name)


def _is_user(name: str) -> bool:
    return 0 < len(name) <= 32 and name[0] not in _DIGITS and name[0] != "-" and _USER.issuperset(name)


def is_unit(unit: str) -> bool:
    name, _, kind = unit.rpartition(".")
    prefix, _, instance = name.partition("@")
    return len(unit) <= 255 and kind in _UNIT_TYPES and prefix != "" and _UNIT.issuperset(prefix + instance)


def is_unit_name(text: str) -> bool:
    """True if a unit may have this name, of whatever type it is."""
    return 0 < len(text) <= 255 and _UNIT.issuperset(text.replace("@", ""))


def is_http(url: str) -> bool:
    """True for a URL that can be taken apart: RFC 3986, with a host, and a port that there can be."""
    scheme, _, rest = url.partition("://")
    end = min(place if (place := rest.find(mark)) >= 0 else len(rest) for mark in "/?#")
    user, _, server = rest[:end].rpartition("@")
    if scheme not in ("http", "https") or not _PRINTABLE.issuperset(rest[end:]) or set(user) & {*"@[]", *_BLANKS}:
        return False
    if server.startswith("["):
        host, bracket, rest = server[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        is_host = bracket != "" and _is_ipv6(host)
    else:
        host, colon, port = server.partition(":")
        is_host = host != "" and not set(host) & {*"[]", *_BLANKS}
    return is_host and (_is_port(port) if colon == ":" else colon == "")


def _is_port(text: str) -> bool:
    return 0 < len(text) <= 5 and _DIGITS.issuperset(text) and 0 < int(text) < 65536


def _is_ipv6(text: str) -> bool:
    if not set(text) <= _DIGITS | set("abcdefABCDEF:."):
        return False
    import ipaddress  # the hook needs it for few repos, if for any

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_header(header: str) -> bool:
    name, colon, value = header.partition(":")
    is_name = 0 < len(name) <= _HEADER_NAME_MAX and _HEADER_NAME.issuperset(name)
    return is_name and colon != "" and 0 < len(value) <= _HEADER_MAX and value.isascii() and value.isprintable()


def _is_status(text: str) -> bool:
    # RFC 9110, "Status Codes".
    return len(text) == 3 and text[0] in "12345" and (text[1:] == "xx" or _DIGITS.issuperset(text[1:]))


def _is_clean_absolute(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\n" not in path and "\0" not in path


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and not path.startswith("/") and ".." not in parts and "\0" not in path
