"""Whatever a build, a ref or a person writes, no terminal, no page and no chat service obeys it, and all other text
stays."""

import re

from cases import FROM_BYTES, TEXT, border, obeyed
from hypothesis import strategies as st
from tinyci.cli.terminal import safe
from tinyci.hook.commit import skip_word
from tinyci.model.text import utf8, visible
from tinyci.notify.plaintext import last_lines, one_line, without_mentions
from tinyci.web import ansi
from tinyci.web.text import plain

SEQUENCES = st.sampled_from(
    [
        *("\x1b[31m", "\x1b[0m", "\x1b[1;38;5;200m", "\x1b[48:2::1:2:3m", "\x1b[2K", "\x1b[9999C", "\x1b[1G", "\x1b[A"),
        *("\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bP1$r\x1b\\", "\x1b[?1049h", "\x1b[6n", "\x1bc", "\x9b31m"),
        *(
            "\x1b",
            "\x1b[",
            "\x1b]",
            "\r",
            "\b",
            "\x08",
            "\x1b[" + "9" * 200 + "m",
            "\x1b[<m",
            "\x1b[m",
            "\x1b[;;;m",
            "\x1b#8",
        ),
    ]
)
LINES = st.lists(SEQUENCES | TEXT | st.text("ab 12", max_size=5), max_size=8).map("".join)
SGR = re.compile(r"\x1b\[[0-9;:]*m")


@border(LINES | FROM_BYTES, few=100)
def test_text_is_made_visible_and_no_other_text_is_changed(text: str) -> None:
    shown = visible(text)
    assert not obeyed(shown, "\t")
    assert visible(shown) == shown
    assert shown == text or obeyed(text, "\t") or not text.isprintable()
    assert len(shown) <= 10 * len(text)
    utf8(shown).encode()
    assert (utf8(text).encode() and True) or not text


@border(LINES | FROM_BYTES, few=100)
def test_a_terminal_has_the_colours_of_a_line_until_its_end(line: str) -> None:
    assert not obeyed(safe(line), "\t") and not SGR.search(safe(line))
    coloured = safe(line, colours=True)
    assert not obeyed(SGR.sub("", coloured), "\t")
    assert SGR.sub("", coloured) == safe(line)
    assert SGR.findall(coloured)[-1:] in ([], ["\x1b[0m"]) and (coloured.endswith("\x1b[0m") or "\x1b" not in coloured)


@border(LINES | FROM_BYTES, few=100)
def test_a_page_shows_a_line_in_bounded_pieces_of_known_classes(line: str) -> None:
    spans = ansi.spans(line)
    for classes, text in spans:
        assert text and not obeyed(text, "\t")
        assert re.fullmatch(r"([a-z]+|[bfx][0-9]{1,3})?( [a-z]+| [bfx][0-9]{1,3})*", classes)
    assert sum(len(text) for _, text in spans) <= 10 * (ansi.LONGEST + 10) + 100
    assert ansi.text(line) == "".join(text for _, text in spans)


@border(LINES | FROM_BYTES, st.integers(1, 300), few=100)
def test_a_line_is_one_line_of_at_most_its_length(line: str, longest: int) -> None:
    assert not obeyed(plain(line, longest)) and len(plain(line, longest)) <= 10 * longest
    assert not obeyed(one_line(line, longest)) and len(one_line(line, longest)) <= longest
    end = last_lines(line * 3, 12, longest)
    assert len(end) <= longest and end.count("\n") < 12 and not obeyed(end, "\n\t")


@border(
    st.lists(st.sampled_from(["@", "<!", "<@U1>", "@everyone", "<#C", "here"]) | TEXT, max_size=5).map("".join), few=100
)
def test_a_chat_service_mentions_nobody_and_the_text_reads_the_same(text: str) -> None:
    told = without_mentions(text)
    assert not re.search(r"[@<][\w!@#&/]", told)
    assert told.replace("\u2060", "") == text.replace("\u2060", "")


@border(FROM_BYTES, few=100)
def test_a_message_of_a_commit_asks_for_no_job_in_two_words_only(text: str) -> None:
    message = text.encode("utf-8", "surrogateescape")
    assert bool(skip_word(message)) == (b"[skip ci]" in message.lower() or b"[ci skip]" in message.lower())
