"""The fields of a job's hash in Redis, as Redis, D-Bus, the pages, JSON and org.tinyci1(5) have them.

To add a field: a row here; a line in Job if the daemon reads it; with a property, the manual page and units/dbus-1/.
"""

from enum import StrEnum
from typing import NamedTuple


class Type(StrEnum):
    """The type of a field, whose value in Redis is text."""

    TEXT = "text"
    TIME = "time"
    """ISO 8601 in UTC."""
    DURATION = "duration"
    """Seconds."""
    COUNT = "count"
    STATUS = "status"
    """An exit status."""
    FLAG = "flag"
    """`true` or anything else."""


SIGNATURES = {
    Type.TEXT: "s",
    Type.TIME: "s",
    Type.DURATION: "d",
    Type.COUNT: "u",
    Type.STATUS: "i",
    Type.FLAG: "b",
}
"""D-Bus types of the properties."""


class Field(NamedTuple):
    """One field of the hash."""

    name: str
    sentence: str
    """Its description in org.tinyci1(5)."""
    type: Type = Type.TEXT
    property_name: str = ""
    """Name of its D-Bus property; empty if only the daemon and the pages read it."""
    is_constant: bool = False
    """Written once, before the job is on the bus."""
    in_json: bool = True
    """True if the pages' JSON has it for each job of a list."""
    max_length: int = 300
    """Characters of a text that the pages show in one line, at most."""

    @property
    def signature(self) -> str:
        return SIGNATURES[self.type]


_T = Type
FIELDS = (
    Field("repo", "Name of the repo.", property_name="Repo", is_constant=True, max_length=100),
    Field("ref", "Full name of the ref that was pushed.", property_name="Ref"),
    Field(
        "revision",
        "Full object name of what is deployed; *tip* until a job of **Run**() has looked what the ref is at.",
        property_name="Revision",
        max_length=100,
    ),
    Field(
        "previous",
        "Full object name that the ref had before the push.",
        property_name="Previous",
        is_constant=True,
        max_length=100,
    ),
    Field("pusher", "The user who pushed, or requested the job.", property_name="Pusher", is_constant=True),
    Field(
        "state",
        "The state of the job, one of *STATES OF A JOB* in tinyci.service(8).",
        property_name="State",
        max_length=40,
    ),
    Field("success", "True if the state is *succeeded*.", _T.FLAG, "Success"),
    Field("reason", "One sentence on how the job ended.", property_name="Reason", max_length=2000),
    Field(
        "output",
        "The last lines of the build, and of a unit that failed, when the job has ended.",
        property_name="Output",
        in_json=False,
    ),
    Field(
        "attempt",
        "Number of the build: 1, and one more each time that a reboot or the end of its manager cut it off.",
        _T.COUNT,
        "Attempt",
    ),
    Field("exit_status", "Exit status of the repo's script, if it failed.", _T.STATUS, "ExitStatus"),
    Field(
        "rollback_to",
        "Instead of a build: the job whose images are deployed again; *previous* until it has begun, which chooses it.",
        property_name="RollbackTo",
        max_length=64,
    ),
    Field("image", "Ids of the images that were deployed.", property_name="Image", max_length=1000),
    Field(
        "running_image",
        "Ids of the images that ran when the deploy was verified.",
        property_name="RunningImage",
        max_length=1000,
    ),
    Field("unit", "The unit of the build, in the manager of **User**.", property_name="Unit"),
    Field(
        "invocation_id",
        "Invocation id of the build's unit: `journalctl _SYSTEMD_INVOCATION_ID=`*ID*.",
        property_name="InvocationID",
        in_json=False,
    ),
    Field("user", "The user who builds it.", property_name="User"),
    Field("created", "When it was pushed.", _T.TIME, "Created"),
    Field("started", "When its first build began.", _T.TIME, "Started"),
    Field("finished", "When it ended.", _T.TIME, "Finished"),
    Field("build_duration", "Duration of the last build.", _T.DURATION, "BuildDuration"),
    Field("restart_duration", "Duration of the restart of all units.", _T.DURATION, "RestartDuration"),
    Field("verify_duration", "Time from the restart until everything was well.", _T.DURATION, "VerifyDuration"),
    # Without a property: only the daemon reads these, and the pages for their stages.
    Field("moment", "When it was pushed: the id of the boot, and the seconds since then.", in_json=False),
    Field("build_started", "When the last build began.", _T.TIME, in_json=False),
    Field("restart_started", "When the first restart began.", _T.TIME, in_json=False),
    Field("failure", "Why the job is being rolled back.", in_json=False, max_length=2000),
    Field("unit_output", "What the unit that failed said last.", in_json=False),
    Field("log_from", "Lines of the log that belong to earlier attempts.", _T.COUNT, in_json=False),
    Field("restarting", "The unit that was restarted last, and the invocation it had before.", in_json=False),
    Field("intent", "The state that the job ends in when its build has stopped.", in_json=False),
    Field("dependents", "Units that were active before the restart and depend on the repo's.", in_json=False),
    Field("retry_of", "The job that this one repeats.", in_json=False),
    Field("spooled", "Whether the hook kept it in the spool.", _T.FLAG, in_json=False),
)
HOOK_FIELDS = ("repo", "ref", "revision", "previous", "pusher", "created", "moment")
"""Fields that the hook writes. All others are the daemon's: from anybody else they are not believed."""
BY_NAME = {field.name: field for field in FIELDS}
PROPERTIES = tuple(field for field in FIELDS if field.property_name)
"""Fields that are properties of org.tinyci1.Job."""
