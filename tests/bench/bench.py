"""Measures tinyci beside what it replaces, on a booted host: prints a table, and can put it into README.md."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchhost import HOST, BenchHost
from cputime import cpu
from floor import floor
from idle import idle
from load import drain, lines, queue
from measurement import HEADING, Row, table
from pushes import first_line, hook, http, timeline
from scale import repos, scale

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
ROWS: dict[str, Callable[[BenchHost], Iterator[Row]]] = {
    "idle": idle,
    "first-line": first_line,
    "hook": hook,
    "http": http,
    "drain": drain,
    "repos": repos,
    "scale": scale,
    "lines": lines,
    "queue": queue,
}
TABLES: dict[str, Callable[[BenchHost], str]] = {"timeline": timeline, "cpu": cpu, "floor": floor}


def main() -> None:
    options = parser().parse_args()
    names = options.rows or [*ROWS, *TABLES]
    if unknown := set(names) - {*ROWS, *TABLES}:
        sys.exit(f"tests/bench/run: there is no row {', '.join(sorted(unknown))}; see --help")
    name = options.host or f"bench-{os.getpid()}"
    try:
        if not options.host:
            inventory = str(HERE / "inventory" / "hosts.yml")
            subprocess.run([HOST, "up", name, "--inventory", inventory], check=True, stdout=sys.stderr)
        with tempfile.TemporaryDirectory() as directory:
            host = BenchHost(name, Path(directory), options.count)
            host.set_up()
            text, is_complete = measure(host, names)
    finally:
        if not options.host:
            subprocess.run([HOST, "down", name], check=True, stdout=sys.stderr)
    print(text, end="")
    if not is_complete:
        sys.exit("tests/bench/run: not all could be measured")
    if options.write:
        README.write_text(with_table(README.read_text(), text))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", choices=[[], *ROWS, *TABLES], help=", ".join([*ROWS, *TABLES])
    )
    parser.add_argument("--host", help="one that is up, with the inventory of tests/bench; by default a new one")
    parser.add_argument("--count", type=int, default=25, help="measurements of which the median is taken")
    parser.add_argument("--write", action="store_true", help="put the tables into tests/bench/README.md")
    return parser


def measure(host: BenchHost, names: list[str]) -> tuple[str, bool]:
    """Return the tables of these rows, in Markdown, with when and where, and if all could be measured."""
    rows: list[Row] = []
    tables: list[str] = []
    failures = 0
    for name in names:
        begin = time.monotonic()
        try:
            if name in TABLES:
                tables.append(TABLES[name](host))
                continue
            for row in ROWS[name](host):
                rows.append(row)
                print(" | ".join(row.cells()), file=sys.stderr, flush=True)
        except Exception:  # the other rows are worth their time
            failures += 1
            traceback.print_exc()
        finally:
            print(f"bench: {name} ({time.monotonic() - begin:.0f} s)", file=sys.stderr, flush=True)
    texts = [table(HEADING, (row.cells() for row in rows))] if rows else []
    return "\n".join([place(host), *texts, *tables]), not failures


def place(host: BenchHost) -> str:
    """Return a sentence on when and where it was measured."""
    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    versions = host.sh("nproc; . /etc/os-release; echo $PRETTY_NAME; uname -r").splitlines()
    cores, system, kernel = versions
    day = datetime.now(UTC).date()
    return f"{day}, {commit}: {system} with Linux {kernel}, {cores} cores; median of {host.count} (range).\n"


def with_table(text: str, measurement: str) -> str:
    """Return the text of README.md with other tables between its marks."""
    begin, end = (re.escape(mark) for mark in MARKS)
    result, count = re.subn(
        f"({begin}).*({end})", lambda marks: marks[1] + measurement + marks[2], text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"{README} has no place for the table")
    return result


if __name__ == "__main__":
    main()
