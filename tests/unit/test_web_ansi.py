"""Output on a page is text: it looks as on a terminal, and nothing of it is obeyed."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tinyci.model.text import CONTROL
from tinyci.web import ansi, palette

PIECES = st.sampled_from(
    [
        *("\x1b[31m", "\x1b[0m", "\x1b[1;38;5;200m", "\x1b[48;2;1;2;3m", "\x1b[7m", "\x1b[K", "\x1b[2K", "\x1b[3G"),
        *("\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bP", "\x1b[", "\x1b", "\r", "\x08", "\x9b31m", "\x07"),
        *(
            "<b>",
            "&amp;",
            "\u202e",
            "\udcff",
            "\x1b[999999999999C",
            "\x1b[38;5m",
            "\x1b[38;2;1m",
            "\x1b[?25l",
            "é",
            "\t",
        ),
    ]
)
LINES = st.lists(PIECES | st.text(max_size=8), max_size=40).map("".join)


@pytest.mark.parametrize(
    ("line", "spans"),
    [
        ("", []),
        ("plain", [("", "plain")]),
        ("\x1b[32mgood\x1b[0m news", [("f2", "good"), ("", " news")]),
        ("\x1b[1;91mX", [("f9 bold", "X")]),
        ("\x1b[38;5;123mx\x1b[39my", [("f123", "x"), ("", "y")]),
        ("\x1b[38:2::255:0:0mx", [("f196", "x")]),
        ("\x1b[38;2;255;0;0mx", [("f196", "x")]),
        ("\x1b[44mx", [("b4", "x")]),
        ("\x1b[97;44mx", [("b4 x15", "x")]),
        # Red on red would be nothing: the ground keeps its own text.
        ("\x1b[31;41mx", [("b1", "x")]),
        ("\x1b[7mx\x1b[27my", [("inverse", "x"), ("", "y")]),
        ("\x1b[31;7mx", [("b1", "x")]),
        ("10%\r50%\r100%", [("", "100%")]),
        ("longer\rnew", [("", "newger")]),
        ("longer\r\x1b[Knew", [("", "new")]),
        ("abc\x08\x08X", [("", "aXc")]),
        ("\x1b[2Kx\r", [("", "x")]),
        ("a\x1b[5Gb", [("", "a   b")]),
        ("\x1b]0;a title\x07text", [("", "text")]),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", [("", "link")]),
        ("\x1b[?25lx\x1b[?25h", [("", "x")]),
        ("\x1b(Bx", [("", "x")]),
        ("a\x07b\x00c", [("", "a\\x07b\\x00c")]),
        ("a\u202eb", [("", "a\\u202eb")]),
        ("a\udcffb", [("", "a\\xffb")]),
        ("\x1b", [("", "\\x1b")]),
        ("\x1b[31", [("", "\\x1b[31")]),
        ("a\tb", [("", "a\tb")]),
        ("<script>&", [("", "<script>&")]),
        ("windows\r", [("", "windows")]),
    ],
)
def test_a_line_is_shown_as_a_terminal_would(line: str, spans: list[ansi.Span]) -> None:
    assert ansi.spans(line) == spans


def test_a_long_line_is_cut_and_says_so() -> None:
    *pieces, (classes, note) = ansi.spans("x" * 1_000_000)
    assert sum(len(text) for _, text in pieces) == ansi.LONGEST
    assert (classes, note) == ("cut", " … 996000 more characters")


def test_of_a_long_progress_bar_the_end_is_shown() -> None:
    assert ansi.spans("".join(f"{number} of 200000\r" for number in range(200_001))) == [("", "200000 of 200000")]


@given(LINES)
def test_nothing_that_a_browser_or_a_terminal_obeys_is_left(line: str) -> None:
    for classes, text in ansi.spans(line):
        assert text
        assert not CONTROL.search(text)
        assert set(classes) <= set("abcdefghijklmnopqrstuvwxyz0123456789 ")
        text.encode()


@example("\x1b[:C0")
@example("0\x1b[ 1K")
@given(LINES)
def test_what_nothing_is_written_over_in_is_the_same_both_ways(line: str) -> None:
    """The quick way, for most lines, and the one for all."""
    rest = ansi._MOVES.sub("", line)
    if not ansi._MOVES.search(rest):
        whole = "".join(text for _, text in ansi._in_sequence(rest))
        assert whole.rstrip(" ") == "".join(text for _, text in ansi._on_screen(rest)).rstrip(" ")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=50))
def test_plain_text_is_itself(text: str) -> None:
    assert "".join(part for _, part in ansi.spans(text)) == CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@pytest.mark.parametrize("ground", [palette.LIGHT, palette.DARK])
def test_every_colour_can_be_read_on_both_pages(ground: palette.Colour) -> None:
    for number in range(256):
        text = palette.readable(palette.colour(number), ground)
        assert palette.contrast(text, ground) >= palette.READABLE, number


def test_every_ground_has_text_that_can_be_read() -> None:
    for number in range(256):
        best = max(palette.contrast(text, palette.colour(number)) for text in ((0, 0, 0), (255, 255, 255)))
        assert best >= palette.READABLE, number


def test_a_colour_is_its_own_nearest() -> None:
    assert [palette.nearest(*palette.colour(number)) for number in range(16, 232)] == list(range(16, 232))
    assert palette.nearest(-1, 300, 0) == 46
