"""`output` is the end of what a build printed, of a limited size, and says when something was cut off."""

from hypothesis import given
from hypothesis import strategies as st
from tinyci.daemon.output import Tail

CUT = "[tinyci: cut; the whole output is in the job's log]\n"
LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30))


def tail_of(lines: list[str], most: int) -> str:
    tail = Tail(most)
    for line in lines:
        tail.add(line)
    return tail.text()


def test_nothing_printed_is_an_empty_output() -> None:
    assert tail_of([], 100) == ""


def test_a_short_output_is_whole() -> None:
    assert tail_of(["one", "", "three"], 100) == "one\n\nthree\n"


def test_whole_lines_are_cut_off_from_the_beginning() -> None:
    assert tail_of(["one", "two", "three"], 10) == CUT + "two\nthree\n"


def test_of_a_line_that_is_too_long_the_end_is_kept() -> None:
    assert tail_of(["x" * 100 + "end"], 8).startswith(CUT + "x")
    assert tail_of(["x" * 100 + "end"], 8).endswith("end\n")


def test_a_line_after_one_that_was_too_long_is_kept() -> None:
    assert tail_of(["x" * 100, "end"], 10) == CUT + "end\n"


@given(LINES, st.integers(1, 200))
def test_the_output_is_an_end_of_the_text_and_says_whether_it_is_all_of_it(lines: list[str], most: int) -> None:
    whole = "".join(f"{line}\n" for line in lines)
    text = tail_of(lines, most)
    if len(whole.encode()) <= most:
        assert text == whole
    else:
        assert text.startswith(CUT)
        assert whole.endswith(text.removeprefix(CUT))


@given(LINES, st.integers(1, 200))
def test_the_output_is_of_at_most_so_many_bytes(lines: list[str], most: int) -> None:
    assert len(tail_of(lines, most).removeprefix(CUT).encode()) <= most


@given(LINES, st.integers(1, 200))
def test_no_more_is_cut_off_than_must_be(lines: list[str], most: int) -> None:
    end = tail_of(lines, most).removeprefix(CUT)
    rest = "".join(f"{line}\n" for line in lines).removesuffix(end)
    if rest and end:
        assert len((rest.removesuffix("\n").split("\n")[-1] + "\n" + end).encode()) > most


@given(LINES, LINES, st.integers(1, 60))
def test_many_lines_at_once_are_as_many_one_by_one(first: list[str], second: list[str], most: int) -> None:
    tail = Tail(most)
    tail.extend(first)
    tail.extend(second)
    assert tail.text() == tail_of(first + second, most)
