"""The job of a stage: the daemon's job file, believed only as far as root's configuration agrees.

A stage runs as the repo's user (or root). From the daemon it takes a job id, a ref and a revision; everything else
comes from `/etc/tinyci/repos.d`, which is root's.
"""

import os
import pwd
from typing import NamedTuple

from tinyci.model import repo, toml
from tinyci.model.job import Job, JobError
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import JOB_FILE_MAX, JOB_FILES, load_job
from tinyci.model.toml import ConfigError
from tinyci.runtime.files import read_small
from tinyci.stage.status import StageError

_DIGITS = frozenset("0123456789abcdef")


class StageJob(NamedTuple):
    """A job and its repo, checked against each other and against the user who runs this."""

    job: Job
    repo: Repo


def load(hex_id: str) -> StageJob:
    """Return the job with that id (32 hexadecimal digits, the instance of the unit). Raises StageError."""
    job = _load_job(hex_id)
    file = os.path.join(os.environ.get("TINYCI_ETC", "/etc/tinyci"), "repos.d", f"{job.repo}.toml")
    try:
        configuration = repo.parse(file, toml.read(file))
    except ConfigError as error:
        raise StageError(f"the repo {job.repo} is not configured: {error}") from None
    user = pwd.getpwuid(os.geteuid()).pw_name
    if configuration.user != user:
        raise StageError(f"the repo {job.repo} belongs to {configuration.user}, not to {user}")
    return StageJob(job, configuration)


def _load_job(hex_id: str) -> Job:
    if len(hex_id) != 32 or not _DIGITS.issuperset(hex_id):
        raise StageError(f"{hex_id!r} is not the instance of a job: expected 32 hexadecimal digits")
    file = os.path.join(os.environ.get("TINYCI_JOBS", JOB_FILES), f"{hex_id}.json")
    try:
        job = load_job(read_small(file, JOB_FILE_MAX))
    except (OSError, ValueError) as error:
        raise StageError(f"the job file {file} cannot be read: {error}") from None
    except JobError as error:
        raise StageError(f"the job file {file} is wrong: {error}") from None
    if job.hex != hex_id:
        raise StageError(f"the job file {file} is that of another job, {job.id}")
    return job
