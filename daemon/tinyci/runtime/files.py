"""Files that are written whole or not at all, and small ones that somebody else wrote."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False  # of typing
if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str, *, sync: bool = True) -> None:
    """Replace a file. Raises OSError.

    With `sync` the content is on disk before the name leads to it, so a power cut leaves the old file or the new one.
    """
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    os.replace(new, path)


def read_small(path: str | Path, most: int) -> bytes:
    """Return the content of a file of `most` bytes at most. Raises OSError, and ValueError for what is none.

    A link could lead anywhere, and a pipe would hold the reader up.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        content = os.read(descriptor, most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise ValueError(f"longer than {most} bytes")
    return content
