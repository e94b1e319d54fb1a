"""Exit statuses of commands, and the error that carries one with its sentence."""

from collections.abc import Mapping

from tinyci.model.state import FINAL

OK = 0
FAILED = 1
"""The daemon will not, or something went wrong; for `doctor`, something is wrong with the host."""
USAGE = 2
UNKNOWN = 3
"""There is no such job or repo, or there are several."""
REFUSED = 4
"""polkit, or the policy of the bus, does not allow it."""
NO_DAEMON = 5
"""The daemon, or the bus, cannot be reached."""
INTERRUPTED = 130
NOT_READ = 141
"""The status of a program that SIGPIPE ends: nobody reads its output any more."""

OF_STATE: Mapping[str, int] = {
    str(state): state.row.exit_status for state in sorted(FINAL, key=lambda state: state.row.exit_status)
}
"""Of the commands that end with a job: its final states."""


class CommandError(Exception):
    """A command failed; one sentence for the person who gave it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
