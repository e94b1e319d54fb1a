"""The user's home, filled to the last byte again and again: python3 diskfill.py DIRECTORY COUNTS.

The caller sees to it that this is a file system of its own.
"""

import os
import sys
from pathlib import Path

from counts import Counts

BLOCK = os.urandom(1 << 20)


def main() -> None:
    directory, counts = Path(sys.argv[1]), Counts(sys.argv[2])
    while True:
        number = 0
        try:
            while True:
                number += 1
                (directory / f"fill.{number}").write_bytes(BLOCK)
                counts.add("MB written to the home")
        except OSError:
            counts.add("times that the home was full")
        for file in list(directory.glob("fill.*"))[::10]:
            file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
