"""Room on disks: where jobs, images and pushes are written."""

import os
from typing import NamedTuple

from tinyci.doctor import redis
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import System
from tinyci.model.places import SPOOL

_MIB = 1024 * 1024
_FILES = 1000
"""Free inodes below which there is no room, whatever the bytes say."""


class Place(NamedTuple):
    """A path where something is written."""

    path: str
    what: str
    least: int
    """Bytes that must be free."""


HOST = (
    Place(SPOOL, "pushes that find no Redis", 16 * _MIB),
    Place(redis.DATA, "jobs", 64 * _MIB),
    Place("/run/tinyci", "jobs that run", 4 * _MIB),
)


def of_user(home: str, uid: int) -> tuple[Place, ...]:
    if not uid:
        return (
            Place("/var/lib/containers", "images and containers", 512 * _MIB),
            Place("/var/cache/tinyci", "checkouts", 64 * _MIB),
        )
    return (
        Place(f"{home}/.local/share/containers", "images and containers", 512 * _MIB),
        Place(f"{home}/.cache/tinyci", "checkouts", 64 * _MIB),
        Place(f"/run/user/{uid}", "what runs in the user's manager", 4 * _MIB),
    )


def judge(place: Place, free: int, files: int, mount_point: str) -> Finding:
    """`free`: bytes; `files`: inodes, negative where there is no limit. `mount_point`: of the file system."""
    if free < place.least:
        text = (
            f"{mount_point} has {free // _MIB} MiB left for {place.what} ({place.path}), expected {place.least // _MIB}"
        )
        return wrong(
            Problem.SPACE_BYTES, f"{text}: see 'du -xh {mount_point} | sort -h | tail' and remove what is not needed"
        )
    if 0 <= files < _FILES:
        text = f"{mount_point} has room for {files} files only, for {place.what} ({place.path})"
        return wrong(
            Problem.SPACE_INODES,
            f"{text}: see 'du -x --inodes {mount_point} | sort -n | tail' and remove what is not needed",
        )
    return ok("space", f"{mount_point} has room for {place.what}")


def look(system: System, places: tuple[Place, ...]) -> list[Finding]:
    findings = []
    for place in places:
        path = place.path
        while not os.path.exists(path):  # a path that is not there yet will be made where its parent is
            path = os.path.dirname(path)
        mount_point = path
        while not os.path.ismount(mount_point):
            mount_point = os.path.dirname(mount_point)
        try:
            status = os.statvfs(path)
        except OSError:
            findings.append(unchecked("space"))
            continue
        files = status.f_favail if status.f_files else -1
        findings.append(judge(place, status.f_bavail * status.f_frsize, files, mount_point))
    worst = [each for each in findings if each.verdict == "wrong"]
    return worst or findings[:1]
