"""What a stage was asked to do: the job file of the daemon, believed only as far as root's configuration agrees.

A stage runs as the repo's user (or root). From the daemon it takes a job id, a ref and a revision; everything else
comes from `/etc/tinyci/repos.d`, which is root's.
"""

import os
import pwd
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tinyci.model import repo, toml
from tinyci.model.job import Job, JobError
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import JOB_FILES, Status, Verdict, load_job
from tinyci.model.toml import ConfigError
from tinyci.stage.podman import PodmanError


class StageError(Exception):
    """A stage ends without success; one sentence, and the verdict."""

    def __init__(self, sentence: str, verdict: Verdict = Verdict.FAILED) -> None:
        super().__init__(sentence)
        self.verdict = verdict


class Order(NamedTuple):
    """A job and its repo, checked against each other and against who runs this."""

    job: Job
    repo: Repo


def load(hex_id: str) -> Order:
    """The order of the job with that id (32 hexadecimal digits, the instance of the unit). Raises Refused."""
    if not re.fullmatch(r"[0-9a-f]{32}", hex_id, re.ASCII):
        raise StageError(f"{hex_id!r} is not the instance of a job: expected 32 hexadecimal digits")
    path = Path(os.environ.get("TINYCI_JOBS", JOB_FILES)) / f"{hex_id}.json"
    try:
        job = load_job(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StageError(f"the job file {path} cannot be read: {error}") from None
    except JobError as error:
        raise StageError(f"the job file {path} is wrong: {error}") from None
    if job.hex != hex_id:
        raise StageError(f"the job file {path} is that of another job, {job.id}")
    file = Path(os.environ.get("TINYCI_ETC", "/etc/tinyci")) / "repos.d" / f"{job.repo}.toml"
    try:
        found = repo.parse(str(file), toml.read(str(file)))
    except (OSError, ConfigError) as error:
        raise StageError(f"the repo {job.repo} is not configured: {error}") from None
    me = pwd.getpwuid(os.geteuid()).pw_name
    if found.user != me:
        raise StageError(f"the repo {job.repo} belongs to {found.user}, not to {me}")
    return Order(job, found)


def report(verdict: Verdict, sentence: str) -> None:
    """Make the verdict the unit's Status (sd_notify(3)), which the daemon reads as StatusText."""
    from sdnotify import SystemdNotifier

    SystemdNotifier().notify(f"STATUS={Status(verdict, sentence)}")


def refuse(error: StageError) -> int:
    """Say why the stage ends, to the person at the journal and to the daemon. Returns the exit status for it."""
    print(f"tinyci: {error}", flush=True)
    report(error.verdict, str(error))
    return 1


def carry_out(stage: Callable[[Order], int]) -> int:
    """Run a stage for the job that the command line names, and return its exit status. Nothing that a user of ours
    can cause ends in a traceback."""
    try:
        return stage(load(sys.argv[1] if len(sys.argv) == 2 else ""))
    except StageError as error:
        return refuse(error)
    except (PodmanError, OSError) as error:
        return refuse(StageError(str(error)))
