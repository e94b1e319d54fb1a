"""Text of others, made harmless: what a build prints, and what repos, refs and people are called."""

import re

# C0 and C1 but the tab, DEL, what turns the direction of text or cannot be seen, line ends beyond ASCII, bytes that
# were not UTF-8, and tags. Joiners (U+200C, U+200D) stay: scripts and emoji need them.
CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def escape(match: re.Match[str]) -> str:
    """A character as programs write it: `\\x1b`, `\\u202e`; a byte that was not UTF-8 as that byte."""
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: str) -> str:
    """The text with each control character written out; nothing in it is obeyed or hidden."""
    return CONTROL.sub(escape, text)


def utf8(text: str) -> str:
    """The text without what has no UTF-8, for D-Bus, the journal and JSON: such bytes are written as `\\udcNN`."""
    return text.encode("utf-8", "backslashreplace").decode()


def short_ref(ref: str) -> str:
    """A ref as git shortens it: `main` for `refs/heads/main`, `v1` for `refs/tags/v1`."""
    for prefix in ("refs/heads/", "refs/tags/", "refs/"):
        if ref.startswith(prefix):
            return ref.removeprefix(prefix)
    return ref
