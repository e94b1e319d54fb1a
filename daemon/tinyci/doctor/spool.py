"""The spool, which keeps pushes while Redis is away."""

import os
import time

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import File, System
from tinyci.model.settings import SPOOL

RIGHTS = "1730 tinyci:tinyci-push"
LATE = 60.0
"""Seconds after which a kept job should have been taken in."""


def judge_directory(directory: File | None) -> Finding:
    # The daemon's own view of the file system (ReadWritePaths=) has the directory that was there at its start.
    make = f"systemd-tmpfiles --create {files.TMPFILES} && systemctl try-restart tinyci.service"
    if directory is None:
        return wrong(Problem.SPOOL_MISSING, f"{SPOOL} is missing: a push that finds no Redis would be lost", make)
    if not directory.is_directory:
        text = f"{SPOOL} is no directory: a push that finds no Redis would be lost"
        return wrong(Problem.SPOOL_NO_DIRECTORY, text, f"rm {SPOOL} && {make}")
    if directory.rights != RIGHTS:
        mend = f"chown tinyci:tinyci-push {SPOOL} && chmod 1730 {SPOOL}"
        text = f"{SPOOL} is {directory.rights}, expected {RIGHTS}: the hook writes there, and the daemon alone reads"
        return wrong(Problem.SPOOL_RIGHTS, text, mend)
    return ok("spool", f"{SPOOL} is there for pushes that find no Redis")


def judge_backlog(ages: dict[str, float], bad: list[str]) -> Finding:
    """`ages`: seconds since the push of each kept job, by file name; below zero when the clock was set back since.
    `bad`: files that were no jobs."""
    late = [name for name, age in ages.items() if abs(age) > LATE]
    if late:
        text = f"{len(late)} pushes wait in {SPOOL} for the daemon, which takes them in when it and Redis are up"
        return wrong(Problem.SPOOL_LATE, text, "systemctl restart tinyci.service")
    if bad:
        names = " ".join(sorted(bad))
        text = (
            f"{len(bad)} files in {SPOOL} were no jobs, and whoever pushed them may wait: read them, then remove them"
        )
        return wrong(Problem.SPOOL_NO_JOBS, f"{text} ({names})")
    return ok("spool-backlog", "no push waits to be taken in")


async def look(system: System) -> list[Finding]:
    findings = [judge_directory(system.file(SPOOL))]
    if not system.is_root:
        return [*findings, unchecked("spool-backlog")]
    try:
        names = os.listdir(SPOOL)
        ages = {name: time.time() - os.stat(f"{SPOOL}/{name}").st_mtime for name in names if name.endswith(".json")}
    except OSError:  # said above, or taken in just now
        return findings
    return [*findings, judge_backlog(ages, [name for name in names if name.endswith(".bad")])]
