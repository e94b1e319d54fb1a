"""The clock that nobody sets."""

import os
import time

from tinyci.model.moment import Moment

_BOOT_ID_VARIABLE = "TINYCI_BOOT_ID"
"""The daemon's unit sets it: it sees nothing but processes in /proc (ProcSubset=pid)."""
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def moment() -> Moment:
    """Return the present moment."""
    boot_id = os.environ.get(_BOOT_ID_VARIABLE, "")
    if not boot_id:
        with open(_BOOT_ID, encoding="ascii") as file:
            boot_id = file.read().strip().replace("-", "")
    return Moment(boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))
