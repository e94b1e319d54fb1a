"""The message of a commit that was just pushed, read as cheaply as a push has to have it."""

import os
import zlib

_MOST = 1 << 16


def message(git_dir: str, revision: str) -> bytes:
    """The beginning of it; empty when it cannot be read."""
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
    return _asked(git_dir, revision)


def _asked(git_dir: str, revision: str) -> bytes:
    """Git's answer: for a packed commit, and for the one that an annotated tag is of."""
    import subprocess

    command = ["git", f"--git-dir={git_dir}", "show", "--no-patch", "--format=%B", f"{revision}^{{commit}}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout[:_MOST]


def skip_word(text: bytes) -> str:
    """The words in a message that ask for no job, if any."""
    lower = text.lower()
    return next((word.decode() for word in (b"[skip ci]", b"[ci skip]") if word in lower), "")
