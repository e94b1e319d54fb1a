"""Hostile input, and a decorator that tries a border with it. `TINYCI_SOAK=N` tries N cases at each border."""

import functools
import os
import unicodedata
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

SOAK = int(os.environ.get("TINYCI_SOAK", "0"))

Test = Callable[..., None]


def border(*strategies: SearchStrategy[Any], few: int = 40) -> Callable[[Test], Test]:
    """Try a test with `few` cases, the same each time, or with TINYCI_SOAK others, and count that so many were tried:
    Hypothesis stops before when it has tried all that a strategy can make."""

    def decorate(test: Test) -> Test:
        wish = SOAK or few
        count = 0

        @functools.wraps(test)
        def one_case(*arguments: Any, **fixtures: Any) -> None:
            nonlocal count
            count += 1
            test(*arguments, **fixtures)

        tries = settings(
            max_examples=wish,
            deadline=None,
            database=None,
            derandomize=not SOAK,
            suppress_health_check=list(HealthCheck),
        )(given(*strategies)(one_case))

        @functools.wraps(tries)
        def all_cases(*arguments: Any, **fixtures: Any) -> None:
            nonlocal count
            count = 0
            tries(*arguments, **fixtures)
            assert count >= wish, f"{count} cases were tried, and not {wish}"

        return all_cases

    return decorate


# -- texts -------------------------------------------------------------------------------------------------------------

ODD_TEXTS = [
    *(
        "",
        " ",
        "\0",
        "\t",
        "\n",
        "\r",
        "\x1b[31m",
        "\x1b]8;;http://x\x07",
        "\x1bc",
        "\x9b2J",
        "\x7f",
        "\u202e",
        "\u2066",
    ),
    *("\ufeff", "\u200b", "\udcff", "\ud800", "\U000e0041", "e\u0301", "٣", "\uff11", "ﬀ", "İ", "ß", "\u2028", "\x85"),
    *("..", "/", "../../etc/passwd", "~root", "$(id)", "`id`", "%s", "%n", "{0}", "<script>", "&amp;", "'", '"', "\\"),
    *("-1", "+1", "1_0", "0x10", "1e999", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "None", "true", "False", "[]"),
    *("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999+23:59", "2026-01-01", "2026-W01-1", "24:00"),
    *("refs/heads/main", "refs/heads/a..b", "refs/heads/x.lock", "tip", "queued", "succeeded", "rolling-back", "web"),
    *("web.service", "a@b.service", "x" * 255 + ".service", "*" * 60 + "b", "a" * 3000),
]
CHARACTERS = st.characters(exclude_categories=())
"""All of them, also halves of such as have two."""
TEXT = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(CHARACTERS, max_size=30),
    st.lists(st.sampled_from(ODD_TEXTS[:-2]) | st.text(CHARACTERS, max_size=5), max_size=5).map("".join),
)
BYTES = TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=40)
FROM_BYTES = BYTES.map(lambda data: data.decode("utf-8", "surrogateescape"))
"""Texts as they come from Redis, git and file systems: bytes that are not UTF-8 are halves of characters."""


def is_obeyed(character: str) -> bool:
    """True if a terminal or a browser does something at the character, or something to those around it."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or character in "\u200b\ufeff"
    )


def obeyed(text: str, but: str = "") -> str:
    """The characters of a text that something obeys."""
    return "".join(character for character in text if is_obeyed(character) and character not in but)


# -- mutations ---------------------------------------------------------------------------------------------------------


@st.composite
def mutations(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes with some parts removed, repeated, swapped or replaced."""
    data = original
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.integers(begin, min(len(data), begin + 20)))
        kind = draw(st.sampled_from(["remove", "repeat", "replace", "insert"]))
        part = data[begin:end]
        data = {
            "remove": lambda begin=begin, end=end, data=data: data[:begin] + data[end:],
            "repeat": lambda begin=begin, part=part, data=data: data[:begin] + part * 3 + data[begin:],
            "replace": lambda begin=begin, end=end, data=data: data[:begin] + draw(BYTES)[:200] + data[end:],
            "insert": lambda begin=begin, data=data: data[:begin] + draw(BYTES)[:200] + data[begin:],
        }[kind]()  # type: ignore[no-untyped-call]
    return data
