"""Jobs that the hook kept as files while Redis did not take them."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tinyci.model.settings import SPOOL


class Spooled(NamedTuple):
    """One kept job. `problem` says why the file holds none."""

    path: Path
    id: str
    fields: dict[str, str]
    created: float
    """Seconds since the epoch."""
    problem: str


def is_empty(directory: str = SPOOL) -> bool:
    """Quick: asked before every job."""
    try:
        return not any(name.endswith(".json") for name in os.listdir(directory))
    except OSError:
        return True


def jobs(directory: str = SPOOL) -> Iterator[Spooled]:
    """The kept jobs in push order. A file that is still being written has another name."""
    try:
        paths = sorted(Path(directory).glob("*.json"))
    except OSError:
        return
    for path in paths:
        try:
            if not stat.S_ISREG(path.lstat().st_mode):  # to read a pipe would hold up everything
                raise ValueError("not a regular file")
            fields = {str(key): str(value) for key, value in json.loads(path.read_bytes()).items()}
            "".join(fields.values()).encode("utf-8", "surrogateescape")  # half characters are nobody's bytes
            job_id = fields.pop("id")
            yield Spooled(path, job_id, fields, int(path.name.split("-")[0]) / 1_000_000, "")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, KeyError) as error:
            yield Spooled(path, "", {}, 0.0, f"{path} is not a kept job: {error!r}")
