"""The time that everything but a host and these tests takes of the machine's processors: it makes deploys slow, too."""

import os
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


class Others:
    """All processes that are neither of a host nor of these tests."""

    def __init__(self, host: str) -> None:
        """`host`: the name of the host's control group."""
        self._host = f"/{host}/"
        self._begin = time.monotonic()
        self._used = self._seconds()

    def share(self) -> float:
        """Return the part of all processors that they have taken since this was made."""
        used = self._seconds() - self._used
        return max(0.0, used) / (time.monotonic() - self._begin) / (os.cpu_count() or 1)

    def _seconds(self) -> float:
        """Return the seconds of those that run, with their children that have ended: proc(5)."""
        ticks = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if int(process.name) == os.getpid() or self._host in (process / "cgroup").read_text():
                    continue
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
            except OSError:  # it has ended
                pass
        return ticks / _TICK
