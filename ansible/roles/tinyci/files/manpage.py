"""Translates a manual page from Markdown to roff (man(7)).

usage: manpage.py PAGE.SECTION.md    prints the page

The Markdown is the part of pandoc's that manual pages need, so pandoc and web pages show it as well:

    % tinyci(1) | 2026-11-24          the first line: name, section, date of the last change
    # SECTION, ## Subsection
    paragraphs, with **bold**, *italic*, `code` and [links](URL)
    - items of a list, their further lines indented
    ``` or four blanks                verbatim text
    | tables |                        with a line of dashes under the head
    a term                            several terms may share a definition
    :   and its definition            further lines and paragraphs indented by four

Anything else is text.
"""

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

TITLE = re.compile(r"% ([\w.-]+)\((\d)\) \| (\d{4}-\d\d-\d\d)")
INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|(?<![\w*])\*(?P<italic>[^*\s][^*]*)\*"
    r"|\[(?P<text>[^\]]+)\]\((?P<url>[^)\s]+)\)"
    r"|\\(?P<escaped>[!-/:-@\[-`{-~])"
)
DEFINITION = ":   "
OTHER_BLOCKS = (DEFINITION, "# ", "## ", "### ", "```", "- ", "|")
SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}


class PageError(Exception):
    """The page is wrong; file, line and what is expected there."""


def roff(file: str, markdown: str) -> str:
    """Return the page in roff. `file`: its name in a PageError."""
    first, _, rest = markdown.partition("\n")
    title = TITLE.fullmatch(first)
    if not title:
        raise PageError(f"{file}:1: expected '% NAME(SECTION) | YYYY-MM-DD'")
    name, section, date = title.groups()
    head = f'.TH "{escape(name.upper())}" {section} {date} tinyci'
    return "\n".join([head, *_blocks(rest.splitlines())]) + "\n"


def escape(text: str) -> str:
    """Return the text such that roff prints it as it is."""
    return "".join(SPECIAL.get(char) or (char if char.isascii() else f"\\[u{ord(char):04X}]") for char in text)


def inline(text: str) -> str:
    """Translate bold, italic, code and links."""
    out, at = "", 0
    for match in INLINE.finditer(text):
        out += escape(text[at : match.start()])
        at = match.end()
        group = match.groupdict()
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
    """Translate the lines of a paragraph, and wrap them."""
    text = inline(" ".join(line.strip() for line in lines))
    return [_line(line) for line in textwrap.wrap(text, 78, break_long_words=False, break_on_hyphens=False)]


def _line(text: str) -> str:
    """Protect a dot, which would make the line a request; a quote is escaped already."""
    return rf"\&{text}" if text.startswith(".") else text


def _blocks(lines: list[str]) -> Iterator[str]:
    """Translate blocks that are not indented."""
    at = 0
    needs_space = False  # after a heading a paragraph needs none
    while at < len(lines):
        if not lines[at].strip():
            at += 1
        elif heading := re.match(r"(#{1,3}) (.*)", lines[at]):
            yield f".{'SH' if len(heading[1]) == 1 else 'SS'} {inline(heading[2])}"
            at, needs_space = at + 1, False
        else:
            block, at = _block(lines, at, needs_space=needs_space)
            yield from block
            needs_space = True


def _block(lines: list[str], at: int, *, needs_space: bool) -> tuple[list[str], int]:
    """Translate the block that begins at a line. Return it, and the index of the line after it."""
    line = lines[at]
    if line.startswith("```"):
        end = _index(lines, at + 1, lambda each: each.startswith("```"))
        return _verbatim(lines[at + 1 : end], needs_space=needs_space), end + 1
    if line.startswith("    "):
        end = _end_of_indented(lines, at, 4)
        return _verbatim([each[4:] for each in lines[at:end]], needs_space=needs_space), end
    if line.startswith("- "):
        end = _end_of_indented(lines, at + 1, 2)
        return [r".IP \(bu 2", *_item([line[2:], *(each[2:] for each in lines[at + 1 : end])])], end
    if line.startswith("|"):
        end = _index(lines, at, lambda each: not each.startswith("|"))
        return _verbatim(_table(lines[at:end]), needs_space=needs_space), end
    end = _index(lines, at, lambda each: not each.strip() or each.startswith(OTHER_BLOCKS))
    if end < len(lines) and lines[end].startswith(DEFINITION):
        return _definition(lines, at, end)
    return [*([".PP"] if needs_space else []), *paragraph(lines[at:end])], end


def _definition(lines: list[str], at: int, colon: int) -> tuple[list[str], int]:
    """Translate terms, which begin at `at`, and their definition, which begins at `colon`, as _block() does."""
    terms = "\n.TQ\n".join(_line(inline(term)) for term in lines[at:colon])
    end = _end_of_indented(lines, colon + 1, 4)
    return [".TP", *([terms] if terms else []), *_item([each[4:] for each in lines[colon:end]])], end


def _item(lines: list[str]) -> list[str]:
    """Translate the first paragraph of an item, and further blocks with the same indentation."""
    end = _index(lines, 0, lambda line: not line.strip())
    item = paragraph(lines[:end])
    if any(line.strip() for line in lines[end:]):
        blocks = list(_blocks(lines[end:]))
        item += [".RS", *([] if blocks[0].startswith(".") else [".PP"]), *blocks, ".RE"]
    return item


def _index(lines: list[str], at: int, is_match: Callable[[str], bool]) -> int:
    """Return the index of the first line that matches, from `at` on; the number of lines if none does."""
    return next((index for index in range(at, len(lines)) if is_match(lines[index])), len(lines))


def _end_of_indented(lines: list[str], at: int, width: int) -> int:
    """Return the index after the last line that is indented by `width`; empty lines may stand between."""
    end = at
    while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" " * width)):
        at += 1
        if lines[at - 1].strip():
            end = at
    return end


def _verbatim(lines: list[str], *, needs_space: bool) -> list[str]:
    space = [".PP"] if needs_space else []
    return [*space, ".RS 4", ".nf", *(_line(escape(line)) or r"\&" for line in lines), ".fi", ".RE"]


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
