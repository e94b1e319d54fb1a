"""A manual page as roff (man(7)), from the Markdown that it is written in.

usage: manpage.py PAGE.SECTION.md    prints the page

The Markdown is pandoc's, as far as manual pages need it, so that pandoc and a web page show it as well:

    % tinyci(1) | 2026-11-24          the first line: name, section, date of the last change
    # SECTION, ## Subsection
    paragraphs, with **bold**, *italic*, `code` and [links](URL)
    - items of a list, their further lines indented
    ``` or four blanks                text as it is
    | tables |                        with a line of dashes under the head
    a term                            what is defined
    :   and its definition            further lines and paragraphs indented by four

Anything else is text. A page that cannot be read so is refused with its file and line.
"""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

TITLE = re.compile(r"% ([\w.-]+)\((\d)\) \| (\d{4}-\d\d-\d\d)")
INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|(?<![\w*])\*(?P<italic>[^*\s][^*]*)\*"
    r"|\[(?P<text>[^\]]+)\]\((?P<url>[^)\s]+)\)"
    r"|\\(?P<escaped>[!-/:-@\[-`{-~])"
)
SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}


class PageError(Exception):
    """Where a page is no Markdown of ours."""


def roff(file: str, markdown: str) -> str:
    """The page."""
    first, _, rest = markdown.partition("\n")
    title = TITLE.fullmatch(first)
    if not title:
        raise PageError(f"{file}:1: expected '% NAME(SECTION) | YYYY-MM-DD'")
    name, section, date = title.groups()
    head = f'.TH "{escape(name.upper())}" {section} {date} tinyci'
    return "\n".join([head, *_blocks(rest.splitlines())]) + "\n"


def escape(text: str) -> str:
    """Text that roff takes for nothing else."""
    return "".join(SPECIAL.get(char) or (char if char.isascii() else f"\\[u{ord(char):04X}]") for char in text)


def inline(text: str) -> str:
    """Text with its fonts."""
    out, at = "", 0
    for found in INLINE.finditer(text):
        out += escape(text[at : found.start()])
        at = found.end()
        group = found.groupdict()
        if strong := group["code"] or group["bold"]:
            out += rf"\fB{escape(strong)}\fR"
        elif group["italic"]:
            out += rf"\fI{escape(group['italic'])}\fR"
        elif group["text"]:
            out += inline(group["text"]) + ("" if group["text"] == group["url"] else f" ({escape(group['url'])})")
        else:
            out += escape(group["escaped"])
    return out + escape(text[at:])


def paragraph(lines: list[str]) -> list[str]:
    """Lines of text as lines of roff, where a new line is a blank."""
    text = inline(" ".join(line.strip() for line in lines))
    return [_line(line) for line in textwrap.wrap(text, 78, break_long_words=False, break_on_hyphens=False)]


def _line(text: str) -> str:
    """A dot that begins a line would make it a request; quotes are escaped already."""
    return rf"\&{text}" if text.startswith(".") else text


def _blocks(lines: list[str]) -> Iterator[str]:
    """The blocks of a text whose own indentation is none."""
    at = 0
    is_begun = True  # after a heading, where a paragraph needs no space
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
            continue
        if heading := re.match(r"(#{1,3}) (.*)", line):
            yield f".{'SH' if len(heading[1]) == 1 else 'SS'} {inline(heading[2])}"
            at, is_begun = at + 1, True
            continue
        if line.startswith("```"):
            end = at + 1
            while end < len(lines) and not lines[end].startswith("```"):
                end += 1
            yield from _as_it_is(lines[at + 1 : end], is_begun=is_begun)
            at = end + 1
        elif line.startswith("    "):
            end = _indented(lines, at, 4)
            yield from _as_it_is([each[4:] for each in lines[at:end]], is_begun=is_begun)
            at = end
        elif line.startswith("- "):
            end = _indented(lines, at + 1, 2)
            yield r".IP \(bu 2"
            yield from _inner([line[2:], *(each[2:] for each in lines[at + 1 : end])])
            at = end
        elif line.startswith("|"):
            end = at
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            yield from _as_it_is(_table(lines[at:end]), is_begun=is_begun)
            at = end
        else:
            end = at
            while (
                end < len(lines) and lines[end].strip() and not lines[end].startswith((":   ", "#", "```", "- ", "|"))
            ):
                end += 1
            if end < len(lines) and lines[end].startswith(":   "):
                yield ".TP"
                for number, term in enumerate(lines[at:end]):
                    if number:
                        yield ".TQ"
                    yield _line(inline(term))
                at, end = end, _indented(lines, end + 1, 4)
                yield from _inner([each[4:] for each in lines[at:end]])
            else:
                if not is_begun:
                    yield ".PP"
                yield from paragraph(lines[at:end])
            at = end
        is_begun = False


def _inner(lines: list[str]) -> Iterator[str]:
    """What belongs to an item: its first paragraph, and the others indented as far."""
    end = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    yield from paragraph(lines[:end])
    if any(line.strip() for line in lines[end:]):
        yield ".RS"
        first = True
        for block in _blocks(lines[end:]):
            if first and not block.startswith("."):
                yield ".PP"
            first = False
            yield block
        yield ".RE"


def _indented(lines: list[str], at: int, by: int) -> int:
    """Where the lines end that are indented by so many blanks, or empty between such."""
    end = at
    while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" " * by)):
        at += 1
        if lines[at - 1].strip():
            end = at
    return end


def _as_it_is(lines: list[str], *, is_begun: bool) -> Iterator[str]:
    if not is_begun:
        yield ".PP"
    yield ".RS 4"
    yield ".nf"
    for line in lines:
        yield _line(escape(line)) or r"\&"
    yield ".fi"
    yield ".RE"


def _table(rows: list[str]) -> list[str]:
    cells = [
        [
            re.sub(r"[`*]", "", cell).replace("\\|", "|").strip()
            for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))
        ]
        for row in rows
        if not re.fullmatch(r"[|\s:-]+", row)
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(min(map(len, cells)))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip() for row in cells]


def main() -> None:
    file = Path(sys.argv[1])
    try:
        print(roff(str(file), file.read_text(encoding="utf-8")), end="")
    except (PageError, OSError) as error:
        sys.exit(f"manpage: {error}")


if __name__ == "__main__":
    main()
