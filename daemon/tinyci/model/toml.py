"""A table of a TOML file with checked keys; its errors name the file, the key and the expected value."""

from __future__ import annotations

from tinyci.model import plaindata, timespan

TYPE_CHECKING = False  # of typing, which takes as long to import as half of the hook
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_NUMBER_MAX = 2**53
"""Beyond it, nothing can be counted, and Redis takes no number."""
_TEXT_MAX = 100
"""Characters of a value or a key that an error repeats."""


class ConfigError(Exception):
    """A configuration file is wrong; one sentence for the person who wrote it."""


def read(file: str) -> str:
    """Return the text of a configuration file. Raises ConfigError."""
    try:
        with open(file, encoding="utf-8") as stream:
            return stream.read()
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8, which a TOML file has to be") from None
    except OSError as error:  # whose own text has numbers in it
        raise ConfigError(f"{file}: {error.strerror}") from None


class TomlTable:
    """Typed getters over one TOML table, which raise ConfigError; after the last one comes reject_unknown_keys()."""

    def __init__(self, file: str, values: dict[str, object], prefix: str = "") -> None:
        self._file = file
        self._values = values
        self._prefix = prefix
        self._used_keys: set[str] = set()

    @classmethod
    def load(cls, file: str, text: str) -> TomlTable:
        """Parse the text of a file. Raises ConfigError."""
        values = plaindata.toml_table(text)
        if values is not None:
            return cls(file, values)
        import tomllib  # as long as all of the hook takes

        try:
            return cls(file, tomllib.loads(text))
        except RecursionError:
            raise ConfigError(f"{file}: not TOML that anybody would write: it nests too deep") from None
        except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
            raise ConfigError(f"{file}: not TOML: {error}") from None

    def table(self, key: str) -> TomlTable:
        """Return the sub-table of that name, empty when it does not exist."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "a table")
        return TomlTable(self._file, value, f"{self._prefix}{key}.")

    def text(self, key: str, expected: str, check: Callable[[str], object], default: str | None = None) -> str:
        """Return a string for which check() is true."""
        value = self._value(key, default)
        if not isinstance(value, str) or (value != default and not check(value)):
            raise self.error(key, expected)
        return value

    def texts(
        self, key: str, expected: str, check: Callable[[str], object], default: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """Return a list of strings for each of which check() is true."""
        value = self._value(key, None if default is None else list(default))
        if not isinstance(value, list) or not all(isinstance(text, str) and check(text) for text in value):
            raise self.error(key, expected)
        return tuple(value)

    def number(self, key: str, least: int, default: int) -> int:
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _NUMBER_MAX:
            raise self.error(key, f"a whole number of at least {least}")
        return value

    def span(self, key: str, default: str, least: float = 0.0) -> float:
        """Return a time span in seconds."""
        value = self._value(key, default)
        try:
            seconds = timespan.parse(str(value))  # a number is seconds, and reads the same
        except ValueError:
            seconds = -1.0
        if seconds < least:
            raise self.error(key, f"a time span of at least {timespan.show(least)}, such as {default!r}")
        return seconds

    def reject_unknown_keys(self) -> None:
        """Raise for a key that no getter has used: a misspelt key must not pass as its default."""
        unknown_keys = sorted(set(self._values) - self._used_keys)
        if unknown_keys:
            choices = ", ".join(sorted(self._used_keys))
            key = unknown_keys[0] if unknown_keys[0].isprintable() else repr(unknown_keys[0])
            raise ConfigError(f"{self._file}: {self._prefix}{key[:_TEXT_MAX]}: no such key; expected one of {choices}")

    def error(self, key: str, expected: str) -> ConfigError:
        """Return the error that tells the expected and the actual value of a key."""
        actual = f"found {_shown(self._values[key])}" if key in self._values else "it is missing"
        return ConfigError(f"{self._file}: {self._prefix}{key}: expected {expected}, but {actual}")

    def _value(self, key: str, default: object) -> object:
        self._used_keys.add(key)
        return self._values.get(key, default)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a hexadecimal number of thousands of digits, which Python does not convert
        return "a number of thousands of digits"
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"
