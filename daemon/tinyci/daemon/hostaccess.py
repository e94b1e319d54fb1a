"""The daemon's access to its host besides Redis and systemd: two directories, the journal, the clock."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tinyci.model.job import Job
from tinyci.model.settings import SPOOL
from tinyci.model.stagecontract import JOB_FILES, dump_job
from tinyci.model.timestamp import seconds, stamp
from tinyci.runtime.files import write_whole
from tinyci.systemd.buildoutput import BuildOutput
from tinyci.systemd.unitjournal import last_lines


@dataclass(frozen=True)
class HostAccess:
    """The real host, unless a test gives other parts."""

    job_files: Path = Path(JOB_FILES)
    spool: str = SPOOL
    build_output: Callable[[str, str, int], BuildOutput] = BuildOutput
    """Follows the output of a build: its first line, its last line, the uid that prints them."""
    last_lines: Callable[[str, int, float], Awaitable[list[str]]] = last_lines
    """Reads the last lines of a unit: its name, the uid whose manager runs it, seconds since the epoch to begin at."""
    time: Callable[[], float] = time.time
    """Seconds since the epoch."""

    def now(self) -> str:
        return stamp(self.time())

    def seconds_since(self, timestamp: str) -> str:
        """Seconds since a timestamp, in the form of the hash's durations; empty for no timestamp."""
        begin = seconds(timestamp)
        return "" if begin is None else f"{max(0.0, self.time() - begin):.6f}"

    def job_file(self, job: Job) -> Path:
        return self.job_files / f"{job.hex}.json"

    def write_job_file(self, job: Job) -> None:
        self.job_files.mkdir(mode=0o755, exist_ok=True)
        write_whole(self.job_file(job), dump_job(job), sync=False)  # a reboot empties /run anyway
