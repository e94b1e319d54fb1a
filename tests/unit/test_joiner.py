"""Lines that journald broke up are whole again, and no byte of a build's output is lost."""

from hypothesis import given
from hypothesis import strategies as st
from tinyci.systemd.journal import Joiner, readable

LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")))


@given(LINES, st.integers(1, 10))
def test_lines_that_journald_broke_up_are_whole_again(lines: list[bytes], line_max: int) -> None:
    joiner, found = Joiner(longest=1 << 20), []
    for line in lines:
        parts = [line[at : at + line_max] for at in range(0, len(line), line_max)] or [b""]
        for number, part in enumerate(parts, 1):
            complete = joiner.add(part, number < len(parts))
            assert len(complete) == (number == len(parts))
            found += complete
    assert found == [readable(line) for line in lines]
    assert joiner.rest() == []


def test_a_line_without_end_is_handed_out_in_pieces() -> None:
    joiner = Joiner(longest=10)
    assert joiner.add(b"12345", True) == []
    assert joiner.add(b"67890", True) == ["1234567890"]
    assert joiner.add(b"abc", True) == []
    assert joiner.add(b"def", False) == ["abcdef"]


def test_the_line_that_a_killed_build_had_begun_is_not_lost() -> None:
    joiner = Joiner(longest=10)
    joiner.add(b"begun", True)
    assert joiner.rest() == ["begun"]
    assert joiner.rest() == []


def test_a_character_that_was_split_in_two_is_one_again() -> None:
    joiner = Joiner(longest=100)
    one, two = "ä".encode()[:1], "ä".encode()[1:]
    assert joiner.add(one, True) + joiner.add(two, False) == ["ä"]


@given(st.text(st.characters(codec="utf-8")))
def test_utf8_is_shown_as_it_is(text: str) -> None:
    assert readable(text.encode()) == text


def test_other_bytes_are_shown_as_hexadecimal_digits() -> None:
    assert readable(b"caf\xe9 \xff\xf0\x9f") == "caf\\xe9 \\xff\\xf0\\x9f"


@given(st.binary())
def test_whatever_was_printed_can_be_stored_as_utf8(line: bytes) -> None:
    readable(line).encode("utf-8")
