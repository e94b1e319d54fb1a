"""Shared parts of the command `host`: the cache directory, locks, progress, and the error that people see."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]


def _cache() -> Path:
    directory = os.environ.get("TINYCI_CACHE")
    if directory:
        return Path(directory).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyci"


CACHE = _cache()


class HostCommandError(Exception):
    """A problem that the caller can repair; the message is one sentence."""


def say(text: str, since: float | None = None) -> None:
    """Print progress on stderr: stdout belongs to the command that runs in the host."""
    took = "" if since is None else f" ({time.monotonic() - since:.1f} s)"
    print(f"host: {text}{took}", file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock until the block ends; the kernel releases it however the process ends."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a") as file:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"wait for another process that holds {path.name}")
            fcntl.flock(file, kind)
        yield


def run_logged(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run the command with its output in the log; when it fails, its last lines are the message.

    The command gets SIGTERM when this process dies, however it dies: it must not work on without our locks.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        bound_command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
        status = subprocess.run(bound_command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env).returncode
    if status:
        raise HostCommandError(f"{command[0]} ended with status {status}; the end of {log}:\n{tail(log)}")


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"
