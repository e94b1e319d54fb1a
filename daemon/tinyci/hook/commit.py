"""The message of a commit that was just pushed, read as cheaply as a push has to have it."""

import os
import zlib

_MOST = 1 << 16
"""Bytes of a message that are looked at."""


def message(git_dir: str, revision: str) -> bytes:
    """Return the beginning of the message; empty when it cannot be read."""
    if not revision.isalnum():  # else a part of a path, or an option
        return b""
    # What a push of less than a hundred objects (receive.unpackLimit, git-config(1)) brings is in files of its own:
    # reading one takes a tenth of what starting git does.
    path = os.path.join(git_dir, "objects", revision[:2], revision[2:])
    try:
        with open(path, "rb") as file:
            content = zlib.decompressobj().decompress(file.read(_MOST), _MOST)
    except (OSError, zlib.error):
        content = b""
    if content.startswith(b"commit "):
        return content.partition(b"\n\n")[2]
    return _message_from_git(git_dir, revision)


def _message_from_git(git_dir: str, revision: str) -> bytes:
    """Ask git: for a packed commit, and for the commit of an annotated tag."""
    import subprocess

    command = ["git", f"--git-dir={git_dir}", "show", "--no-patch", "--format=%B", f"{revision}^{{commit}}"]
    try:
        process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return process.stdout[:_MOST]


def skip_word(message: bytes) -> str:
    """Return the words that ask for no job; empty when the message has none."""
    lower = message.lower()
    return next((word.decode() for word in (b"[skip ci]", b"[ci skip]") if word in lower), "")
