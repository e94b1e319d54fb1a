"""Output of jobs and builds reaches a terminal as text, and tables fit it."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.cli import terminal
from tinyci.cli.terminal import safe, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "plain", "coloured"),
    [
        ("a\tb", "a\tb", "a\tb"),
        ("\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m\x1b[0m"),
        ("\x1b[1;38:5:9mred", "red", "\x1b[1;38:5:9mred\x1b[0m"),
        ("\x1b[2J", r"\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[31;\x1b[mx", r"\x1b[31;x", "\\x1b[31;\x1b[mx\x1b[0m"),
        ("10 %\r20 %\r", r"10 %\x0d20 %", r"10 %\x0d20 %"),
        ("\x9b2J \x85", r"\x9b2J \x85", r"\x9b2J \x85"),
        ("right \u202eto left", r"right \u202eto left", r"right \u202eto left"),
        ("in\u200bvisible\u2060", r"in\u200bvisible\u2060", r"in\u200bvisible\u2060"),
        ("two\u2028lines", r"two\u2028lines", r"two\u2028lines"),
        ("\ufeffmark", r"\ufeffmark", r"\ufeffmark"),
        ("not UTF-8: \udcff", r"not UTF-8: \xff", r"not UTF-8: \xff"),
        ("grüße 日本", "grüße 日本", "grüße 日本"),
    ],
)
def test_control_characters_are_shown_and_colours_kept_or_dropped(text: str, plain: str, coloured: str) -> None:
    assert safe(text) == plain
    assert safe(text, colours=True) == coloured


@given(st.text())
def test_a_terminal_obeys_nothing_but_colours(text: str) -> None:
    assert all(char.isprintable() or ord(char) > 0x9F or char == "\t" for char in safe(text))
    without = re.sub(r"\x1b\[[0-9;:]*m", "", safe(text, colours=True))
    assert not set(without) & {chr(code) for code in (*range(9), *range(10, 32), *range(127, 160))}


def test_a_table_in_a_pipe_is_lines_with_tabs() -> None:
    assert table(("A", "B"), [("1", "x\ny"), ("22", "")], io.StringIO()) == ["1\tx\\x0ay", "22\t"]


def test_a_table_is_no_wider_than_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = table(
        ("ID", "STATE", "REF"), [("0d31", "failed", "a-very-long-name-of-a-branch")], Terminal(), state_column=1
    )
    assert lines == ["ID    STATE   REF", "0d31  failed  a-very-long-nam…"]
    assert max(map(len, lines)) == 30


@pytest.mark.parametrize(
    ("word", "colour"),
    [
        ("succeeded", 32),
        ("failed", 31),
        ("rolled-back", 31),
        ("queued", 34),
        ("building", 34),
        ("superseded", 33),
        ("a state of a newer daemon", 31),
    ],
)
def test_a_state_has_the_colour_of_its_kind(monkeypatch: pytest.MonkeyPatch, word: str, colour: int) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.state(word, Terminal()) == f"\x1b[{colour}m{word}\x1b[0m"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.state("failed", Terminal()) == "\x1b[31mfailed\x1b[0m"
    monkeypatch.setenv(name, value)
    assert terminal.state("failed", Terminal()) == "failed"
