"""ARCHITECTURE.md is true: its table of states is the program's, and every file that it names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tinyci.model import state

TREE = Path(__file__).resolve().parents[2]
PAGE = (TREE / "ARCHITECTURE.md").read_text(encoding="utf-8")
PACKAGE = TREE / "daemon" / "tinyci"


def test_it_draws_the_table_of_states() -> None:
    assert f"\n\n{state.table()}\n\n" in PAGE


def test_the_module_prints_the_table() -> None:
    command = [sys.executable, "-m", "tinyci.model.state"]
    run = subprocess.run(command, cwd=TREE / "daemon", capture_output=True, text=True, timeout=20, check=True)
    assert run.stdout == state.table() + "\n"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+/[a-z_]*(?:\.py)?)`", PAGE))))
def test_every_file_that_it_names_is_there(path: str) -> None:
    assert (PACKAGE / path).exists() or (TREE / path).exists()


def test_it_names_every_room() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"`([a-z]+)`", PAGE.partition("## Rooms")[2]))
