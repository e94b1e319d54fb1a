"""A stage's sentences come out of its Status as they went in, and remarks beside what they are on."""

import pytest
from tinyci.model.stagecontract import Status, Verdict, parse_verified, verified_sentence
from tinyci.model.text import last_words

IMAGES = ("b" * 64, "a" * 64)


@pytest.mark.parametrize(
    ("remarks", "text"), [((), ""), (("a: b; c",), "a: b; c"), (("two", "one"), "one; two")], ids=str
)
def test_a_verification_tells_images_and_remarks_apart(remarks: tuple[str, ...], text: str) -> None:
    status = Status.parse(str(Status(Verdict.VERIFIED, verified_sentence(IMAGES, remarks))))
    assert status.verdict == Verdict.VERIFIED
    assert parse_verified(status.sentence) == (f"{'a' * 64} {'b' * 64}", text)
    assert parse_verified(verified_sentence((), remarks)) == ("", text)


def test_the_last_words_are_one_harmless_line_of_bounded_length() -> None:
    assert last_words([]) == last_words(["", " \t"]) == ""
    assert last_words(["one", "two", " ", "three\x1b[0m\n", ""]) == "two / three\\x1b[0m"
    assert last_words(["a", "again", "again"]) == "a / again"
    assert last_words(["x" * 1000]) == "x" * 239 + "…"
