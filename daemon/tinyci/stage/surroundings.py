"""What a container runs with besides its image: mounted directories and secrets, as far as a build may have changed
them. A new configuration needs a restart as much as a new image does."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from tinyci.stage import podman

_ENTRIES_MAX = 20_000
"""Entries of one mount that are looked at; one with more is taken for changed."""


def is_changed(detail: Mapping[str, Any], since: float) -> bool:
    """Return whether a container runs with something else than it would after a restart, for all that can be told.
    `detail`: of `podman container inspect`. `since`: the begin of the build, Unix time. Raises PodmanError."""
    sources = [str(mount.get("Source") or "") for mount in detail.get("Mounts") or ()]
    if any(_is_written(source, since) for source in sources if source.startswith("/")):
        return True
    secrets = {str(each["Name"]): str(each["ID"]) for each in (detail.get("Config") or {}).get("Secrets") or ()}
    return bool(secrets) and any(podman.secrets().get(name) != secret for name, secret in secrets.items())


def _is_written(path: str, since: float) -> bool:
    for count, entry in enumerate(_entries(path)):
        try:
            status = os.lstat(entry)
        except OSError:  # it is gone, which its directory tells, or is not for this user
            continue
        if max(status.st_mtime, status.st_ctime) >= since or count >= _ENTRIES_MAX:
            return True
    return False


def _entries(path: str) -> Iterator[str]:
    yield path
    for directory, _, names in os.walk(path):
        yield directory
        yield from (os.path.join(directory, name) for name in names)
