"""A process of a stage is awaited to its end, and no longer than it may take."""

import os
import time
from pathlib import Path

import pytest
from tinyci.stage.process import Process


def test_a_process_is_read_when_it_has_ended() -> None:
    process = Process(("sh", "-c", "cat; echo no >&2; exit 3"), os.environ, b"words")
    assert process.wait(60) == (3, b"words", b"no\n")


def test_a_process_that_does_not_end_is_killed() -> None:
    process = Process(("sleep", "60"), os.environ)
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        process.wait(0.05)
    assert time.monotonic() - begin < 10


def test_processes_run_beside_each_other(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = Process(("cat", str(fifo)), os.environ)
    writer = Process(("sh", "-c", 'echo words >"$1"', "sh", str(fifo)), os.environ)
    assert reader.wait(60) == (0, b"words\n", b"")
    assert writer.wait(60) == (0, b"", b"")


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="nowhere"):
        Process(("nowhere-to-be-found",), os.environ)
