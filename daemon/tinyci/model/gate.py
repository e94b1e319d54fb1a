"""The gate of a user: `tinyci-gate@UID.service`, which passes a filtered part of that user's bus to the daemon."""

DIRECTORY = "/run/tinyci-gate"


def unit_name(uid: int) -> str:
    return f"tinyci-gate@{uid}.service"


def socket_path(uid: int) -> str:
    """The path of the socket that the gate listens at."""
    return f"{DIRECTORY}/{uid}/bus"
