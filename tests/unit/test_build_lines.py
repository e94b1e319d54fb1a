"""Lines that journald broke up are whole again, and no byte of a build's output is lost."""

from hypothesis import given
from hypothesis import strategies as st
from tinyci.systemd.buildoutput import LineJoiner
from tinyci.systemd.journal import decode

LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")))


@given(LINES, st.integers(1, 10))
def test_lines_that_journald_broke_up_are_whole_again(lines: list[bytes], line_max: int) -> None:
    joiner, joint_lines = LineJoiner(longest=1 << 20), []
    for line in lines:
        parts = [line[at : at + line_max] for at in range(0, len(line), line_max)] or [b""]
        for number, part in enumerate(parts, 1):
            complete = joiner.add(part, continues=number < len(parts))
            assert len(complete) == (number == len(parts))
            joint_lines += complete
    assert joint_lines == [decode(line) for line in lines]
    assert joiner.rest() == []


def test_a_line_without_end_is_handed_out_in_pieces() -> None:
    joiner = LineJoiner(longest=10)
    assert joiner.add(b"12345", continues=True) == []
    assert joiner.add(b"67890", continues=True) == ["1234567890"]
    assert joiner.add(b"abc", continues=True) == []
    assert joiner.add(b"def", continues=False) == ["abcdef"]


def test_the_line_that_a_killed_build_had_begun_is_not_lost() -> None:
    joiner = LineJoiner(longest=10)
    joiner.add(b"begun", continues=True)
    assert joiner.rest() == ["begun"]
    assert joiner.rest() == []


def test_a_character_that_was_split_in_two_is_one_again() -> None:
    joiner = LineJoiner(longest=100)
    first, second = "ä".encode()[:1], "ä".encode()[1:]
    assert joiner.add(first, continues=True) + joiner.add(second, continues=False) == ["ä"]


@given(st.text(st.characters(codec="utf-8")))
def test_utf8_is_shown_as_it_is(text: str) -> None:
    assert decode(text.encode()) == text


def test_other_bytes_are_shown_as_hexadecimal_digits() -> None:
    assert decode(b"caf\xe9 \xff\xf0\x9f") == "caf\\xe9 \\xff\\xf0\\x9f"


@given(st.binary())
def test_whatever_was_printed_can_be_stored_as_utf8(line: bytes) -> None:
    decode(line).encode("utf-8")
