"""The contract between the daemon and the stages, which run as the repo's user: units, job file, lines, verdicts.

This page is the whole security border between the two. A stage believes the job file only as far as root's
configuration agrees (stage/stagejob.py); the daemon believes a verdict only about the user's own job.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from tinyci.model import plaindata
from tinyci.model.job import Job

# -- units -----------------------------------------------------------------------------------------------------------

STAGES = ("build", "verify", "rollback")
"""Each runs as `tinyci-STAGE@HEX.service` in the manager of the repo's user."""


def unit_name(stage: str, instance: str) -> str:
    return f"tinyci-{stage}@{instance}.service"


def stage_of(unit: str) -> str:
    """Return the stage that a unit runs."""
    return unit.removeprefix("tinyci-").partition("@")[0]


VERIFY_MARGIN = 30.0
"""Seconds beyond a repo's verify_timeout after which a verify stage that does not end is stopped."""
ROLLBACK_LIMIT = 300.0
"""Seconds that the rollback stage may take."""

PROBES = tuple(unit_name(stage, "0" * 32) for stage in STAGES)
"""Instances that no job has, to ask a manager for its templates."""

# -- the job file ----------------------------------------------------------------------------------------------------

JOB_FILES = "/run/tinyci/jobs"
"""Directory of the job files, HEX.json, which everybody may read: no secrets."""
JOB_FILE_MAX = 64 * 1024
"""Bytes of one; the daemon writes some hundred."""
_JOB_FILE_FIELDS = ("repo", "ref", "revision", "rollback_to")


def dump_job(job: Job) -> str:
    """Return the text of a job's file: all that a stage takes from the daemon."""
    import json  # which a stage does not need

    return json.dumps({"id": job.id, **{name: getattr(job, name) for name in _JOB_FILE_FIELDS}})


def load_job(text: bytes) -> Job:
    """Return the job in a job file. Raises ValueError for no job file, JobError for no job."""
    fields: object = plaindata.json_object(text)
    if fields is None:
        import json  # a ref may be of any characters

        try:
            fields = json.loads(text)
        except RecursionError:
            raise ValueError("it nests too deep") from None
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    return Job.parse(str(fields.pop("id", "")), {name: str(fields.get(name, "")) for name in _JOB_FILE_FIELDS})


# -- lines of the build's output that are the stage's own --------------------------------------------------------------


def first_line(invocation: str) -> str:
    """The first line of a build: by it the daemon finds the output of that invocation in the journal."""
    return f"tinyci: begin of build {invocation}"


def last_line(invocation: str) -> str:
    """The last line of a build: journald may store it long after the unit has ended."""
    return f"tinyci: end of build {invocation}"


def tip_line(ref: str, revision: str) -> str:
    """The second line of a build that had to find out what the ref is at."""
    return f"tinyci: {ref} is at {revision}"


# -- verdicts ----------------------------------------------------------------------------------------------------------

STATUS_MAX = 3000
"""Bytes of a Status: the manager drops a message of over 4 KiB whole."""


class Verdict(StrEnum):
    """The word before the sentence in a stage's Status (STATUS= of sd_notify(3))."""

    FAILED = "failed"
    REJECTED = "rejected"
    """The job could never run, whatever somebody repairs."""
    NOTHING = "nothing"
    """A rollback has nothing to go back to."""
    REMARK = "remark"
    """A success, with a remark on it."""
    UNCHANGED = "unchanged"
    """A build that made nothing which the units would run after a restart; the sentence says so."""
    VERIFIED = "verified"
    """A success; the sentence is that of verified_sentence()."""


class Status(NamedTuple):
    """The Status of a stage at its end."""

    verdict: str
    """A word of Verdict, or any other word, since the user writes it."""
    sentence: str

    @classmethod
    def parse(cls, text: str) -> "Status":
        verdict, _, sentence = text.partition(": ")
        return cls(verdict, sentence)

    def __str__(self) -> str:
        """One line, cut to what the manager takes."""
        text = f"{self.verdict}: {self.sentence}".replace("\n", " ")
        return text.encode("utf-8", "replace")[:STATUS_MAX].decode("utf-8", "ignore")


def verified_sentence(images: Iterable[str], remarks: Iterable[str] = ()) -> str:
    """Return the sentence of a verification: the ids of the images that run, and remarks for the person who pushed."""
    return "; ".join([" ".join(sorted(images)), *sorted(remarks)])


def parse_verified(sentence: str) -> tuple[str, str]:
    """Return the ids of the images in the sentence of a verification, with spaces between, and its remarks."""
    images, _, remarks = sentence.partition("; ")
    return images, remarks
