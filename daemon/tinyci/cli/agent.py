"""The agent through which polkit asks for a password at this terminal: pkttyagent(1), as for systemctl(1)."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PROGRAM = "/usr/bin/pkttyagent"
_PATIENCE = 5.0
"""Seconds until the agent is registered."""


def is_possible() -> bool:
    """Return whether there is a person to ask, and an agent to ask with."""
    return os.geteuid() != 0 and sys.stdin.isatty() and os.access(_PROGRAM, os.X_OK)


@contextmanager
def ready() -> Iterator[None]:
    """Let polkit ask here about this process, until the block ends."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    # It answers for its parent, and closes the descriptor when polkit knows it.
    command = ["pkttyagent", "--notify-fd", str(writer), "--fallback"]
    pid = os.posix_spawn(_PROGRAM, command, os.environ)
    os.close(writer)
    select.select([reader], [], [], _PATIENCE)
    os.close(reader)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
