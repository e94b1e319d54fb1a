"""The agent through which polkit asks a person at this terminal for a password, pkttyagent(1), as systemctl(1) does."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PROGRAM = "/usr/bin/pkttyagent"
_PATIENCE = 5.0


def is_possible() -> bool:
    """Whether there is a person to ask, and something to ask with."""
    return os.geteuid() != 0 and sys.stdin.isatty() and os.access(_PROGRAM, os.X_OK)


@contextmanager
def ready() -> Iterator[None]:
    """While this lasts, polkit can ask here about this process."""
    end, registered = os.pipe()
    os.set_inheritable(registered, True)
    # It answers for its parent, and closes the descriptor when polkit knows it.
    command = ["pkttyagent", "--notify-fd", str(registered), "--fallback"]
    pid = os.posix_spawn(_PROGRAM, command, os.environ)
    os.close(registered)
    select.select([end], [], [], _PATIENCE)
    os.close(end)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
