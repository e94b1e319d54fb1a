"""The daemon's access to its host besides Redis and systemd: two directories, the journal, the clocks."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tinyci.model.job import Job
from tinyci.model.moment import Moment, Now
from tinyci.model.places import SPOOL
from tinyci.model.stagecontract import JOB_FILES, dump_job
from tinyci.model.timestamp import stamp
from tinyci.runtime import clock
from tinyci.runtime.files import write_whole
from tinyci.systemd.buildoutput import BuildOutput
from tinyci.systemd.unitjournal import UnitLine, last_lines


@dataclass(frozen=True)
class HostAccess:
    """The real host, unless a test gives other parts."""

    job_files: Path = Path(JOB_FILES)
    spool: str = SPOOL
    build_output: Callable[[str, str, int], BuildOutput] = BuildOutput
    """Follows the output of a build: its first line, its last line, the uid that prints them."""
    last_lines: Callable[[str, int, int, float], Awaitable[list[UnitLine]]] = last_lines
    """Reads the last lines of a unit: its name, the uid whose manager runs it, the age in seconds to begin at."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds of the clock by which systemd and the journal count as well (CLOCK_MONOTONIC)."""
    time: Callable[[], float] = time.time
    """Seconds since the epoch. Anybody may set this clock: for people, and for what outlives a boot."""
    moment: Callable[[], Moment] = clock.moment

    def now(self) -> str:
        return stamp(self.time())

    def present(self) -> Now:
        return Now(self.time(), self.moment())

    def job_file(self, job: Job) -> Path:
        return self.job_files / f"{job.hex}.json"

    def write_job_file(self, job: Job) -> None:
        self.job_files.mkdir(mode=0o755, exist_ok=True)
        write_whole(self.job_file(job), dump_job(job), sync=False)  # a reboot empties /run anyway
