"""All attacks of a hostile user at once, as a build that he has pushed: python3 attack.py REPO COUNTS.

The programs beside this one become units of his own manager, which outlive the build. What the build itself prints is
2 GB, each line another.
"""

import os
import subprocess
import sys
from pathlib import Path

from counts import Counts

HERE = Path(__file__).resolve().parent
OUTPUT = 2_000_000_000
PROCESSES = 1000
"""At most, of all that this user runs."""


def start(name: str, *arguments: str) -> None:
    program = str(HERE / f"{name}.py")
    unit = ["systemd-run", "--user", "--quiet", "--collect", f"--unit=hostile-{name}"]
    subprocess.run([*unit, sys.executable, "-B", program, *arguments], check=True)


def main() -> None:
    repo, counts = sys.argv[1:]
    runtime = os.environ["XDG_RUNTIME_DIR"]
    start("questions", f"{counts}/questions", repo)
    start("journalflood", f"{counts}/journal")
    start("diskfill", str(Path.home()), f"{counts}/disk")
    start("bomb", str(PROCESSES), f"{counts}/bomb")
    start("fakebus", f"{runtime}/bus", f"{counts}/bus")
    print_much(Counts(f"{counts}/output"))


def print_much(counts: Counts) -> None:
    text, size = "x" * 200, 0
    while size < OUTPUT:
        lines = "".join(f"{number} {text}\n" for number in range(size, size + 1000))
        sys.stdout.write(lines)
        size += len(lines)
        counts.add("bytes of output", len(lines))
        counts.add("lines of output", 1000)


if __name__ == "__main__":
    main()
