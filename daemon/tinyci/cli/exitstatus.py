"""How a command ends: its exit status, and the sentence when it could not do what it was asked."""

from collections.abc import Mapping

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
"""As of a program that SIGPIPE ends: nobody reads its output any more."""

OF_STATE: Mapping[str, int] = {
    "succeeded": OK,
    "failed": 10,
    "rolled-back": 11,
    "timed-out": 12,
    "cancelled": 13,
    "superseded": 14,
    "rejected": 15,
}
"""Of the commands that end with a job: its final states."""

LIVE = ("queued", "building", "restarting", "verifying", "rolling-back")


class CommandError(Exception):
    """Why a command could not do it, for the person who gave it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
