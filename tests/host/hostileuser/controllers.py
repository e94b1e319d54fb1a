"""The kernel's controllers for a host that has none, from outside: cpu, memory and pids, as its units' limits say.

Where the outer machine keeps its controllers in cgroup v1, a test host has none, and systemd accepts CPUWeight=,
MemoryMax= and TasksMax= without effect. Here groups of v1 mirror the host's slices and the units in them, with the
limits that systemd tells of each. A unit of a user's manager counts as a part of that manager.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from testhost import TestHost
from throwawayhost import ThrowawayHost

CONTROLLERS = ("cpu", "memory", "pids")
_MOUNTS = Path("/sys/fs/cgroup")
_DUMMY = "/sys/fs/cgroup/cpu"
"""podman moves processes of a container into a group of their own in each hierarchy, which it looks for here. It is to
leave ours alone, so it finds files in which it may write what it wants."""
_UNLIMITED = 2**62
_SHARES, _CLIENT_SHARES = 1024, 4096
"""Of the outer machine: as much as one process has, so that an attack holds up nothing else there, such as tests on
another host; and more for who pushes, which takes little."""
_INTERVAL = 1.0
_DEFAULT_WEIGHT = 100
_OUTSIDE = "outside.slice"
"""The group of what tests run in the host, which is of no unit."""


def has_own_controllers(server: TestHost) -> bool:
    names = server.sh("cat /sys/fs/cgroup/cgroup.controllers").split()
    return set(CONTROLLERS) <= set(names)


def has_outer_controllers() -> bool:
    return all((_MOUNTS / name / "cgroup.procs").exists() for name in CONTROLLERS)


class Controllers:
    """The groups of one host. Processes that systemd moves, or starts beside the units that there were, follow soon."""

    def __init__(self, server: TestHost, user: str, tasks: int) -> None:
        """`user`: the one whose memory and tasks are limited, to so many `tasks` if systemd allows more."""
        self._server = server
        self._uid = server.sh(f"id -u {user}").strip()
        self._tasks = tasks
        machine = ThrowawayHost(server.name).machine
        self._units = machine.cgroup / "machine" / "payload"
        leader = Path(f"/proc/{machine.leader()}/cgroup").read_text()
        paths = {names: path for _, names, path in (line.split(":", 2) for line in leader.splitlines())}
        self._name = f"{machine.name}-units"
        self._root = f"/proc/{machine.leader()}/root"
        # Without what a run that was cut off has left.
        outer = {name: paths[name].partition(f"/{self._name}")[0].lstrip("/") for name in CONTROLLERS}
        self._parents = {name: _MOUNTS / name / outer[name] for name in CONTROLLERS}
        self._client = self._parents["cpu"] / f"{machine.name}-client"
        self._limits: dict[str, tuple[int, int, int]] = {}
        """By unit: weight, bytes and tasks."""

    def group(self, controller: str, *units: str) -> Path:
        return self._parents[controller].joinpath(self._name, *units)

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Let the limits hold while the block runs."""
        stop = threading.Event()
        sweeper = threading.Thread(target=self._sweep_until, args=(stop,))
        try:
            self._server.sh(f"mkdir {_DUMMY} && mount -t tmpfs tmpfs {_DUMMY}")
            for name in CONTROLLERS:
                self.group(name).mkdir(exist_ok=True)
            # Whoever pushes has a machine of his own; here it is the tests' share of this one.
            self._client.mkdir(exist_ok=True)
            _write(self.group("cpu") / "cpu.shares", _SHARES)
            _write(self._client / "cpu.shares", _CLIENT_SHARES)
            _write(self._client / "cgroup.procs", os.getpid())
            self._sweep()
            sweeper.start()
            yield
        finally:
            stop.set()
            if sweeper.is_alive():
                sweeper.join()
            self._server.sh(f"umount {_DUMMY}; rmdir {_DUMMY}")
            self._remove()

    def _sweep_until(self, stop: threading.Event) -> None:
        while not stop.wait(_INTERVAL):
            with suppress(OSError):  # a unit that ends meanwhile
                self._sweep()

    def _sweep(self) -> None:
        """Move processes that are in a unit's group of the host into that of the unit here. Most are there already,
        since their parents are; and each move holds up all forks of the machine for a moment."""
        groups: dict[Path, list[Path]] = {}
        for directory, _, _ in os.walk(self._units):
            if unit := self._unit(Path(directory)):
                groups.setdefault(unit, []).append(Path(directory))
        names = {name for unit in groups for name in unit.parts} - self._limits.keys()
        self._read_limits({name for name in names if not name.startswith("session-")})  # each push makes one
        for unit, directories in groups.items():
            present = set(_processes(self.group("cpu", *unit.parts)))
            for pid in {pid for directory in directories for pid in _processes(directory)} - present:
                self._move(pid, unit)

    def _unit(self, directory: Path) -> Path | None:
        """Return the slices and the unit that a group belongs to."""
        parts = directory.relative_to(self._units).parts
        if not parts or parts[0] in (_OUTSIDE, self._name):
            return None
        count = next((place for place, name in enumerate(parts, 1) if not name.endswith(".slice")), 0)
        return Path(*parts[:count]) if count else None

    def _read_limits(self, units: set[str]) -> None:
        if not units:
            return
        properties = "-p Id -p CPUWeight -p MemoryMax -p TasksMax"
        text = self._server.sh(f"systemctl show {properties} {' '.join(map(repr, sorted(units)))}")
        for block in text.strip().split("\n\n"):
            values = dict(line.partition("=")[::2] for line in block.splitlines())
            weight = _number(values.get("CPUWeight", ""), _DEFAULT_WEIGHT)
            memory, tasks = (_number(values.get(name, ""), _UNLIMITED) for name in ("MemoryMax", "TasksMax"))
            if values["Id"] == f"user-{self._uid}.slice":
                tasks = min(tasks, self._tasks)
            self._limits[values["Id"]] = (weight, memory, tasks)

    def _move(self, pid: int, unit: Path) -> None:
        for name in CONTROLLERS:
            if name != "cpu" and not self._is_bounded(unit):
                continue
            group = self.group(name)
            for part in unit.parts:
                group /= part
                if not group.exists():
                    group.mkdir()
                    self._limit(name, group, part)
            with suppress(ProcessLookupError):
                _write(group / "cgroup.procs", pid)

    def _is_bounded(self, unit: Path) -> bool:
        """Return whether the memory and the tasks of a unit are limited here: podman cannot run in such a group."""
        return unit.parts[0] == "tinyci.slice" or f"user-{self._uid}.slice" in unit.parts

    def _limit(self, controller: str, group: Path, unit: str) -> None:
        weight, memory, tasks = self._limits.get(unit, (_DEFAULT_WEIGHT, _UNLIMITED, _UNLIMITED))
        match controller:
            case "cpu":
                _write(group / "cpu.shares", weight * 1024 // _DEFAULT_WEIGHT)
                if match := re.fullmatch(r"user@([0-9]+)\.service", unit):
                    self._deceive(group, int(match[1]))
            case "memory":
                _write(group / "memory.limit_in_bytes", memory)
            case _:
                _write(group / "pids.max", tasks if tasks < _UNLIMITED else "max")

    def _deceive(self, group: Path, uid: int) -> None:
        """Let a user's podman believe that it may change a group: it looks for that in the hierarchy of cgroup v2."""
        unit = group.relative_to(self._parents["cpu"])
        with _open_directories():
            twin = self._units / unit
            twin.mkdir(parents=True, exist_ok=True)
            os.chown(twin, uid, -1)
            dummy = Path(f"{self._root}{_DUMMY}") / unit
            for directory in (dummy, dummy / "runtime", dummy / "supervisor"):
                directory.mkdir(parents=True, exist_ok=True)
                (directory / "cgroup.procs").touch()
                os.chown(directory / "cgroup.procs", uid, -1)

    def _remove(self) -> None:
        """Move all processes back, and remove all groups."""
        for directory in _deepest_first(self._units / self._name):
            directory.rmdir()
        for name in CONTROLLERS:
            for group in (*_deepest_first(self.group(name)), *([self._client] if name == "cpu" else [])):
                while pids := _processes(group):
                    for pid in pids:
                        with suppress(ProcessLookupError):
                            _write(self._parents[name] / "cgroup.procs", pid)
                group.rmdir()


@contextmanager
def _open_directories() -> Iterator[None]:
    """Let everybody enter the directories that the block makes, whatever the umask of these tests is."""
    umask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(umask)


def _number(text: str, default: int) -> int:
    """Return a limit; systemctl(1) shows one that is not set as `infinity` or `[not set]`."""
    return int(text) if text.isdecimal() else default


def _deepest_first(top: Path) -> list[Path]:
    return [Path(directory) for directory, _, _ in os.walk(top, topdown=False)]


def _processes(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:  # it is gone, or of threads
        return []


def _write(file: Path, value: object) -> None:
    file.write_text(str(value))
