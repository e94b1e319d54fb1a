"""Text from outside, made harmless: lines of builds, names of repos, refs and people."""

import re
from collections.abc import Sequence

# C0 and C1 but the tab, DEL, what turns the direction of text or cannot be seen, line ends beyond ASCII, bytes that
# were not UTF-8, and tags. Joiners (U+200C, U+200D) stay: scripts and emoji need them.
CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def escape(match: re.Match[str]) -> str:
    r"""Write a character as programs do: `\x1b`, `\u202e`; a byte that was not UTF-8 as that byte."""
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: str) -> str:
    """Write out each control character of a text, so that a terminal neither obeys nor hides it."""
    return CONTROL.sub(escape, text)


def utf8(text: str) -> str:
    r"""Write bytes that were not UTF-8 as `\udcNN`, for D-Bus, the journal and JSON."""
    return text.encode("utf-8", "backslashreplace").decode()


def short_ref(ref: str) -> str:
    """Shorten a ref as git does: `main` for `refs/heads/main`, `v1` for `refs/tags/v1`."""
    for prefix in ("refs/heads/", "refs/tags/", "refs/"):
        if ref.startswith(prefix):
            return ref.removeprefix(prefix)
    return ref


_WORDS_MAX = 240


def last_words(lines: Sequence[str]) -> str:
    """Return the last two different lines that say anything, as one line of at most 240 characters; empty when none
    does."""
    words = dict.fromkeys(visible(line.strip()) for line in reversed(lines) if line.strip())
    text = " / ".join(list(words)[1::-1])
    return text if len(text) <= _WORDS_MAX else f"{text[: _WORDS_MAX - 1]}…"
