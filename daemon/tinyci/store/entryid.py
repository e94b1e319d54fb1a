"""The ids of a stream's entries (XADD): `MILLISECONDS-COUNT`."""


def order(entry_id: str) -> tuple[int, int]:
    """Return a key to sort ids by; the empty id comes first."""
    time, _, count = entry_id.partition("-")
    return int(time or 0), int(count or 0)
