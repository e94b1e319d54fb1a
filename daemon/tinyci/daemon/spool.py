"""The spool: files of jobs that the hook kept while Redis did not take them."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tinyci.model.settings import SPOOL


class SpoolFile(NamedTuple):
    """One file. `problem` is the reason why it holds no job, or empty."""

    path: Path
    id: str
    fields: dict[str, str]
    time: float
    """Seconds since the epoch."""
    problem: str


def is_empty(directory: str = SPOOL) -> bool:
    """True if no job is kept. Quick, since this comes before every job."""
    try:
        return not any(name.endswith(".json") for name in os.listdir(directory))
    except OSError:
        return True


def read(directory: str = SPOOL) -> Iterator[SpoolFile]:
    """Read the files in push order. A file that is still being written has another name."""
    try:
        paths = sorted(Path(directory).glob("*.json"))
    except OSError:
        return
    for path in paths:
        try:
            if not stat.S_ISREG(path.lstat().st_mode):  # reading a pipe would block the daemon
                raise ValueError("not a regular file")
            fields = {str(key): str(value) for key, value in json.loads(path.read_bytes()).items()}
            "".join(fields.values()).encode(
                "utf-8", "surrogateescape"
            )  # raises for half characters, which stand for no bytes
            job_id = fields.pop("id")
            yield SpoolFile(path, job_id, fields, int(path.name.split("-")[0]) / 1_000_000, "")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, KeyError) as error:
            yield SpoolFile(path, "", {}, 0.0, f"{path} is not a kept job: {error!r}")
