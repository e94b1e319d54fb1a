"""The spool, which keeps pushes while Redis is away."""

import os
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import File, System
from tinyci.model.places import SPOOL

RIGHTS = "1730 tinyci:tinyci-push"
LATE = 60.0
"""Seconds after which a kept job should have been taken in."""
_NAMES_MAX = 10


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


def judge_backlog(ages: Mapping[str, float]) -> Finding:
    """`ages`: seconds since each file was written, by name; below zero when the clock was set back since."""
    no_jobs = sorted(name for name, age in ages.items() if _is_no_job(name, age, ages))
    late = [name for name, age in ages.items() if name.endswith(".json") and abs(age) > LATE and name not in no_jobs]
    if late:
        text = f"{len(late)} pushes wait in {SPOOL} for the daemon, which takes them in when it and Redis are up"
        return wrong(Problem.SPOOL_LATE, text, "systemctl restart tinyci.service")
    if no_jobs:
        text = f"{len(no_jobs)} files in {SPOOL} are no jobs, and whoever pushed them may wait"
        return wrong(Problem.SPOOL_NO_JOBS, f"{text}: read them, then remove them ({_listed(no_jobs)})")
    return ok("spool-backlog", "no push waits to be taken in")


def _listed(names: Sequence[str]) -> str:
    """The first names, and the number of the others: whoever may push may make any number of them."""
    return " ".join(names[:_NAMES_MAX]) + (f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else "")


def _is_no_job(name: str, age: float, others: Container[str]) -> bool:
    """True for what the daemon put aside, or could not put aside since that name is taken, and for what a hook that was
    killed has not written to its end."""
    stem, _, suffix = name.rpartition(".")
    return suffix == "bad" or (suffix == "json" and f"{stem}.bad" in others) or (suffix == "new" and abs(age) > LATE)


async def look(system: System) -> list[Finding]:
    findings = [judge_directory(system.file(SPOOL))]
    if not system.is_root:
        return [*findings, unchecked("spool-backlog")]
    ages = {}
    try:
        for name in os.listdir(SPOOL):
            with suppress(FileNotFoundError):  # taken in just now
                ages[name] = time.time() - os.lstat(f"{SPOOL}/{name}").st_mtime
    except OSError:  # said above
        return findings
    return [*findings, judge_backlog(ages)]
