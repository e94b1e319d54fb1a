"""Names on the bus: ours, and those of the bus, of polkit and of systemd that several files spell."""

from enum import StrEnum

NAME = "org.tinyci1"
PATH = "/org/tinyci1"
MANAGER = f"{NAME}.Manager"
JOB = f"{NAME}.Job"

ERROR = f"{NAME}.Error"
"""Our errors are `org.tinyci1.Error.NAME`."""
NO_SUCH_JOB = f"{ERROR}.NoSuchJob"
NO_SUCH_REF = f"{ERROR}.NoSuchRef"
NO_SUCH_REPO = f"{ERROR}.NoSuchRepo"
SHUTTING_DOWN = f"{ERROR}.ShuttingDown"
UNAVAILABLE = f"{ERROR}.Unavailable"


class Action(StrEnum):
    """Our actions that polkit decides about (polkit/org.tinyci1.policy)."""

    RUN = f"{NAME}.run"
    CANCEL = f"{NAME}.cancel"
    RETRY = f"{NAME}.retry"
    ROLLBACK = f"{NAME}.rollback"
    PAUSE = f"{NAME}.pause"


# D-Bus Specification, "Standard Interfaces" and "Message Bus Messages".
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
"""The bus itself: its name, its object, its interface."""
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

_BUS_ERROR = "org.freedesktop.DBus.Error"
ACCESS_DENIED = f"{_BUS_ERROR}.AccessDenied"
AUTHORIZATION_REQUIRED = f"{_BUS_ERROR}.InteractiveAuthorizationRequired"
DISCONNECTED = f"{_BUS_ERROR}.Disconnected"
FAILED = f"{_BUS_ERROR}.Failed"
INVALID_ARGS = f"{_BUS_ERROR}.InvalidArgs"
INVALID_SIGNATURE = f"{_BUS_ERROR}.InvalidSignature"
LIMITS_EXCEEDED = f"{_BUS_ERROR}.LimitsExceeded"
NAME_HAS_NO_OWNER = f"{_BUS_ERROR}.NameHasNoOwner"
NO_REPLY = f"{_BUS_ERROR}.NoReply"
SERVICE_UNKNOWN = f"{_BUS_ERROR}.ServiceUnknown"
TIMED_OUT = f"{_BUS_ERROR}.TimedOut"
TIMEOUT = f"{_BUS_ERROR}.Timeout"
UNKNOWN_METHOD = f"{_BUS_ERROR}.UnknownMethod"
UNKNOWN_OBJECT = f"{_BUS_ERROR}.UnknownObject"

POLKIT = ("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority")
"""polkit: its name, its object, its interface."""
SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
"""A systemd manager: its name, its object, its interface."""
