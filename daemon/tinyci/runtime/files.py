"""Writing files that are there whole or not at all."""

import os
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
