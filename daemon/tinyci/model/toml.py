"""A table of a TOML file whose keys are checked; what is wrong names file, key and what was expected."""

import tomllib
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from tinyci.model import timespan

T = TypeVar("T")


class ConfigError(Exception):
    """One sentence for the person who wrote the file."""


def read(file: str) -> str:
    """The text of a configuration file. Raises TableError, or OSError."""
    with open(file, encoding="utf-8") as opened:
        try:
            return opened.read()
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: not UTF-8, which a TOML file has to be") from None


class TomlTable:
    """Typed getters over one TOML table. Every key that exists must have been asked for by end()."""

    def __init__(self, file: str, values: dict[str, Any], prefix: str = "") -> None:
        self._file = file
        self._values = values
        self._prefix = prefix
        self._asked: set[str] = set()

    @classmethod
    def load(cls, file: str, text: str) -> "TomlTable":
        try:
            return cls(file, tomllib.loads(text))
        except RecursionError:
            raise ConfigError(f"{file}: not TOML that anybody would write: it nests too deep") from None
        except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
            raise ConfigError(f"{file}: not TOML: {error}") from None

    def table(self, key: str) -> "TomlTable":
        """The sub-table of that name, empty when it is not there."""
        value = self._take(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table")
        return TomlTable(self._file, value, f"{self._prefix}{key}.")

    def text(self, key: str, expected: str, check: Callable[[str], object], default: str | None = None) -> str:
        """A string for which check() is true."""
        value = self._take(key, default)
        if not isinstance(value, str) or (value != default and not check(value)):
            raise self.wrong(key, expected)
        return value

    def texts(
        self, key: str, expected: str, check: Callable[[str], object], default: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """A list of strings for each of which check() is true."""
        value = self._take(key, None if default is None else list(default))
        if not isinstance(value, list) or not all(isinstance(v, str) and check(v) for v in value):
            raise self.wrong(key, expected)
        return tuple(value)

    def number(self, key: str, least: int, default: int) -> int:
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"a whole number of at least {least}")
        return value

    def span(self, key: str, default: str, least: float = 0.0) -> float:
        """Seconds."""
        value = self._take(key, default)
        try:
            seconds = timespan.parse(str(value))  # a number is seconds, and reads the same
        except ValueError:
            seconds = -1.0
        if seconds < least:
            raise self.wrong(key, f"a time span of at least {timespan.show(least)}, such as {default!r}")
        return seconds

    def end(self) -> None:
        """Raise for a key that nobody asked for: a misspelt key must not pass as its default."""
        unknown = sorted(set(self._values) - self._asked)
        if unknown:
            known = ", ".join(sorted(self._asked))
            raise ConfigError(f"{self._file}: {self._prefix}{unknown[0]}: no such key; expected one of {known}")

    def wrong(self, key: str, expected: str) -> ConfigError:
        found = f"found {self._values[key]!r}" if key in self._values else "it is missing"
        return ConfigError(f"{self._file}: {self._prefix}{key}: expected {expected}, but {found}")

    def _take(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        return self._values.get(key, default)
