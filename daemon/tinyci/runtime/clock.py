"""The clock that nobody sets."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # of typing, which takes as long to import as half of the hook
if TYPE_CHECKING:
    from tinyci.model.moment import Moment

_BOOT_ID_VARIABLE = "TINYCI_BOOT_ID"
"""The daemon's unit sets it: it sees nothing but processes in /proc (ProcSubset=pid)."""
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def moment() -> Moment:
    """Return the present moment."""
    from tinyci.model.moment import Moment

    return Moment(*_present())


def moment_text() -> str:
    """Return the present moment as text, as the field `moment` of a job has it."""
    boot_id, seconds = _present()
    return f"{boot_id} {seconds:.6f}"


def _present() -> tuple[str, float]:
    boot_id = os.environ.get(_BOOT_ID_VARIABLE, "")
    if not boot_id:
        with open(_BOOT_ID, encoding="ascii") as file:
            boot_id = file.read().strip().replace("-", "")
    return boot_id, time.clock_gettime(time.CLOCK_BOOTTIME)
