"""Processes of podman that live on after a build: those of the containers which its script has started.

podman leaves some of its own processes in the unit of whoever calls it: pasta, slirp4netns and rootlessport, without
which a container cannot be reached, and conmon on hosts without the unified cgroup hierarchy. They would end with the
build's unit, long before the container is meant to.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from tinyci.model.stagecontract import unit_name

_NAMES = frozenset({"aardvark-dns", "catatonit", "conmon", "fuse-overlayfs", "pasta", "rootlessport", "slirp4netns"})
"""Programs that podman starts for a container, or for all of a user's."""
_ATTEMPTS = 3
_LIMIT = 10.0
"""Seconds that one question may take the manager."""
_HIERARCHY = "/sys/fs/cgroup"
_NAME, _PATH, _MANAGER = "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"


class SurvivorError(Exception):
    """Processes that cannot be saved; one sentence."""


class _Process(NamedTuple):
    """A process of the unit."""

    pid: int
    parent: int
    name: str
    container: str
    """The name of the container that it watches; empty for most."""


def save(instance: str) -> list[str]:
    """Give what podman has left in the unit of a build a scope of its own, and return the names of the containers.
    Raises SurvivorError.

    `instance`: the unit's.
    """
    containers: set[str] = set()
    unit = unit_name("build", instance)
    failure = "it starts processes all along"
    for attempt in range(_ATTEMPTS):
        processes = list(_processes(unit))
        helpers = _of_podman(processes)
        if not helpers:
            return sorted(containers)
        containers |= {process.container for process in processes if process.pid in helpers and process.container}
        # One that ends at this moment makes the call fail.
        failure = _move(f"tinyci-containers-{instance}-{attempt}.scope", helpers) or failure
    raise SurvivorError(f"what the script has started with podman ends with the build: {failure}")


def _of_podman(processes: Collection[_Process]) -> set[int]:
    """Return podman's processes and all that they have started."""
    helpers = {process.pid for process in processes if process.name in _NAMES}
    while more := {process.pid for process in processes if process.parent in helpers} - helpers:
        helpers |= more
    return helpers


def _processes(unit: str) -> Iterator[_Process]:
    """Yield the processes of a unit, without this one."""
    for name in _pids(unit) or os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                process = _process(name) if _is_of(unit, name) else None
            except OSError:  # it has ended
                continue
            if process:
                yield process


def _pids(unit: str) -> list[str]:
    """Return the ids of the processes in the control group of a unit that this one is in, and in those below it
    (cgroups(7), "cgroup.procs"); none where the hierarchy is not the unified one. A host may have thousands more."""
    pids: list[str] = []
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            path = file.read().removeprefix("0::").rstrip("\n")
        before, name, _ = path.partition(f"/{unit}")
        for directory, _, _ in os.walk(f"{_HIERARCHY}{before}{name}") if name and before.startswith("/") else ():
            with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
                pids += file.read().split()
    except OSError:  # a group that has gone, or one of threads
        return []
    return pids if str(os.getpid()) in pids else []


def _is_of(unit: str, pid: str) -> bool:
    """True for a process of the unit, whatever version the hierarchy is of (cgroups(7), "/proc/pid/cgroup")."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return any(unit in line.rstrip("\n").split("/") for line in file)


def _process(pid: str) -> _Process:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="surrogateescape") as file:
        # The name stands in parentheses, and may have some itself (proc_pid_stat(5)).
        before, _, after = file.read().rpartition(")")
    with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="surrogateescape") as file:
        words = file.read().split("\0")
    name = before.partition("(")[2].partition(".")[0]  # pasta.avx2
    if name == "exe" and "rootlessport" in words[0]:  # started again by /proc/self/exe
        name = "rootlessport"
    container = words[words.index("-n") + 1] if name == "conmon" and "-n" in words[:-1] else ""
    return _Process(int(pid), int(after.split()[1]), name, container)


def _move(scope: str, pids: Iterable[int]) -> str:
    """Move processes into a new scope (org.freedesktop.systemd1(5), "StartTransientUnit"), and wait until they are
    there. Returns the reason why they are not, or empty."""
    import subprocess  # few builds leave anything

    own = "--system" if os.geteuid() == 0 else "--user"
    numbers = [str(pid) for pid in pids]
    call: tuple[str, ...] = (
        "busctl",
        own,
        "--quiet",
        "call",
        _NAME,
        _PATH,
        _MANAGER,
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
    )
    description = ("Description", "s", "Containers that a build has started")
    call += (scope, "fail", "2", *description, "PIDs", "au", str(len(numbers)), *numbers, "0")
    # The second one joins the job that the first one has queued, and waits for its end.
    for command in (call, ("systemctl", own, "--quiet", "start", scope)):
        try:
            process = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if process.returncode:
            return (process.stderr.strip().splitlines() or [f"{command[0]} fails"])[-1]
    return ""
