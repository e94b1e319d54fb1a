"""The spool: files of jobs that the hook kept while Redis did not take them.

Whoever may push may write anything there, so nothing in a file is believed beyond what the hook writes.
"""

import json
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from tinyci.model.fields import HOOK_FIELDS
from tinyci.model.job import ID_MAX
from tinyci.model.places import SPOOL
from tinyci.model.text import visible
from tinyci.runtime.files import read_small

_NAME = re.compile(r"([0-9]{16})-[0-9]{4,6}-[^/]+\.json", re.ASCII)
"""Microseconds since the epoch, the number in its push, and the id."""
_SIZE_MAX = 64 * 1024
"""Bytes of a file; the hook writes some hundred."""


class SpoolFile(NamedTuple):
    """One file. `problem` is the reason why it holds no job, or empty."""

    path: Path
    id: str
    fields: dict[str, str]
    time: float
    """Seconds since the epoch."""
    problem: str


def names(directory: str = SPOOL, ignore: Collection[str] = ()) -> list[str]:
    """Names of the files in push order, but those to ignore. A file that is still being written has another name."""
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".json") and name not in ignore)
    except OSError:
        return []


def read(directory: str = SPOOL, ignore: Collection[str] = ()) -> Iterator[SpoolFile]:
    """Read the files in push order. One that vanishes meanwhile is left out."""
    for name in names(directory, ignore):
        path = Path(directory) / name
        try:
            match = _NAME.fullmatch(name)
            if not match:
                raise ValueError("its name is not that of one")
            fields = _load(path)
            job_id = fields.pop("id")
            if not 0 < len(job_id) <= ID_MAX:
                raise ValueError("its id is no UUID")
            yield SpoolFile(path, job_id, fields, int(match[1]) / 1_000_000, "")
        except FileNotFoundError:
            continue
        except Exception as error:  # whatever somebody wrote there, no more than that file is lost
            reason = str(error)[:200] or type(error).__name__
            yield SpoolFile(path, "", {}, 0.0, visible(f"{path} is not a kept job: {reason}"))


def _load(path: Path) -> dict[str, str]:
    """The fields that the hook writes. Raises OSError, and many errors for a file that is not the hook's."""
    values = json.loads(read_small(path, _SIZE_MAX))
    fields = {name: str(values[name]) for name in ("id", *HOOK_FIELDS) if name in values}
    "".join(fields.values()).encode("utf-8", "surrogateescape")  # raises for half characters, which stand for no bytes
    return fields
