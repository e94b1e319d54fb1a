"""What the daemon touches of its host besides Redis and systemd: two directories, the journal, the clock."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tinyci.model.job import seconds, stamp
from tinyci.model.settings import SPOOL
from tinyci.systemd.journal import Lines, said_last


@dataclass(frozen=True)
class HostAccess:
    """The host that we run on, unless said otherwise."""

    jobs: Path = Path("/run/tinyci/jobs")
    """Where the stages find their job files."""
    spool: str = SPOOL
    lines: Callable[[str, str, int], Lines] = Lines
    """A follower of what a build prints: its first line, its last line, the uid that prints them."""
    said_last: Callable[[str, int, float], Awaitable[list[str]]] = said_last
    """What a unit said last: its name, the uid whose manager runs it, since when."""
    time: Callable[[], float] = time.time
    """Seconds since the epoch."""

    def now(self) -> str:
        return stamp(self.time())

    def since(self, stamped: str) -> str:
        """Seconds that have passed since a time as now() has it."""
        began = seconds(stamped)
        return "" if began is None else f"{max(0.0, self.time() - began):.6f}"
