"""The units of a repo, as their manager describes them to the user of a stage. Source: org.freedesktop.systemd1(5)."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tinyci.runtime.files import read_small
from tinyci.stage.commandline import Command, commands, is_image, kube_images, kube_names
from tinyci.stage.process import Process
from tinyci.stage.status import StageError

_TIMEOUT = 30.0
"""Seconds that a manager may take for one answer."""
_QUESTIONS = 4
"""Questions to a manager at a time."""
_UNITS_MAX = 100
"""Units that are looked at for one repo, members of targets and pods included."""
_STARTS = frozenset({"run", "start", "restart", "kube", "pod", "up"})
"""Words of podman's, and of compose's, that leave a container running."""
_FILE_MAX = 256 * 1024
"""Bytes of a file that a unit is made of."""


@dataclass(frozen=True)
class Unit:
    """A unit in the state of one moment."""

    name: str
    """As the repo's file, or the unit that it is a member of, calls it."""
    names: frozenset[str]
    """All its names: aliases are among them."""
    is_member: bool = False
    """True if the repo's file does not list it: a listed target, slice or pod has it."""
    load_state: str = "loaded"
    type: str = ""
    """`oneshot`, `notify`, …; empty for what is no service."""
    active_state: str = ""
    main_pid: int = 0
    control_group: str = ""
    """Absolute path in the hierarchy of cgroup v2; empty while nothing runs."""
    exec_start: tuple[tuple[str, ...], ...] = ()
    """The words of each ExecStart=."""
    commands: tuple[Command, ...] = ()
    """Calls of podman in ExecStart=."""
    other_commands: tuple[Command, ...] = ()
    """Calls of podman in ExecStartPre= and ExecStartPost=."""
    working_directory: str = ""
    files: tuple[str, ...] = ()
    """Files that it is made of, absolute paths: its source, fragment and drop-ins, environment, what it plays."""
    environment_files: tuple[str, ...] = ()
    """Those of `files` that EnvironmentFile= names."""
    needs_reload: bool = False
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of other units, by the property that names them."""

    @property
    def is_up(self) -> bool:
        return self.active_state in ("active", "reloading", "refreshing")

    @property
    def runs_podman(self) -> bool:
        """True if its main process is, or starts, containers; as far as its command lines tell."""
        return any(command.verb in _STARTS for command in self.commands)

    @property
    def members(self) -> tuple[str, ...]:
        """Units that stand for it: what a target or slice has, and the containers of a pod."""
        names: tuple[str, ...]
        if self.name.endswith(".target"):
            names = ("Requires", "Wants", "ConsistsOf")
        elif self.name.endswith(".slice"):
            names = ("RequiredBy",)
        elif any(command.verb == "pod" for command in (*self.commands, *self.other_commands)):
            names = ("BoundBy", "RequiredBy", "ConsistsOf")
        else:
            return ()
        return tuple(unit for name in names for unit in self.links.get(name, ()) if unit.endswith(".service"))

    @property
    def builders(self) -> tuple[str, ...]:
        """Quadlet's units that build its image at its start (podman-systemd.unit(5), "Build units")."""
        links = (*self.links.get("Requires", ()), *self.links.get("Wants", ()))
        return tuple(name for name in links if name.endswith("-build.service"))


def read_reloaded(names: Sequence[str]) -> list[Unit]:
    """Return the units of those names as read() does, after the manager has read what changed on disk. Raises
    StageError."""
    entries = read(names)
    if any(unit.needs_reload or unit.load_state == "not-found" for unit in entries):
        reload()
        entries = read(names)
    return entries


def read(names: Iterable[str]) -> list[Unit]:
    """Return the units of those names, each followed by its members. Raises StageError when the manager does not
    answer."""
    units: dict[str, Unit] = {}
    names_left = list(dict.fromkeys(names))
    while names_left and len(units) < _UNITS_MAX:
        entries = _read_all(names_left[: _UNITS_MAX - len(units)])
        units |= {unit.name: replace(unit, is_member=bool(units)) for unit in entries}
        names_read = {name for unit in units.values() for name in unit.names} | units.keys()
        names_left = list(dict.fromkeys(name for unit in entries for name in unit.members if name not in names_read))
    return list(units.values())


def reload() -> None:
    """Have the manager read its units anew. Raises StageError."""
    status, _, errors = _Command("systemctl", *_scope(), "daemon-reload").wait()
    if status:
        raise StageError(f"the units changed on disk, and daemon-reload failed: {_last_line(errors)}")


def fingerprint(units: Sequence[Unit]) -> str:
    """Return a hash of all files that the units are made of; another one means that a restart runs something else."""
    digest = sha256()
    for path in sorted({path for unit in units for path in unit.files}):
        digest.update(path.encode("utf-8", "surrogateescape") + b"\0" + (_content(path) or b"\1") + b"\0")
    return digest.hexdigest()


def texts(units: Sequence[Unit]) -> dict[str, str]:
    """Return the text of each file of the units that this user keeps: neither in /run nor in /usr, and writable."""
    entries = {}
    environments = {path for unit in units for path in unit.environment_files}  # they may hold secrets
    for path in sorted({path for unit in units for path in unit.files} - environments):
        content = _content(path)
        if content is None or path.startswith(("/run/", "/usr/")) or not os.access(path, os.W_OK):
            continue
        try:
            entries[path] = content.decode()
        except UnicodeDecodeError:  # no text: none that a person or script wrote
            continue
    return entries


def text(path: str) -> str | None:
    """Return the text of a file of a unit; None when there is none."""
    content = _content(path)
    return None if content is None else content.decode("utf-8", "replace")


def _read_all(names: Sequence[str]) -> list[Unit]:
    """Return the units of those names; the manager is asked for some at once."""
    units = []
    for first in range(0, len(names), _QUESTIONS):
        questions = [(name, _question(name)) for name in names[first : first + _QUESTIONS]]
        units += [_read_answer(name, question) for name, question in questions]
    return units


def _question(name: str) -> "_Command":
    path = f"/org/freedesktop/systemd1/unit/{_escaped(name)}"
    call = ("org.freedesktop.systemd1", path, "org.freedesktop.DBus.Properties", "GetAll", "s", "")
    return _Command("busctl", *_scope(), "--json=short", "call", *call)


def _read_answer(name: str, question: "_Command") -> Unit:
    status, output, errors = question.wait()
    if status:
        raise StageError(f"the service manager does not describe {name}: {_last_line(errors)}")
    try:
        answer = json.loads(output)["data"][0]
        return _parse(name, {key: value["data"] for key, value in answer.items()})
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise StageError(f"the service manager describes {name} in a way that makes no sense") from None


def _parse(name: str, values: Mapping[str, Any]) -> Unit:
    exec_start = _execs(values, "ExecStart")
    calls = tuple(command for words in exec_start for command in commands(words))
    others = (*_execs(values, "ExecStartPre"), *_execs(values, "ExecStartPost"))
    source, fragment = str(values.get("SourcePath", "")), str(values.get("FragmentPath", ""))
    sources = [source, *map(str, Path(f"{source}.d").glob("*.conf"))] if source else []
    files = [*sources, fragment, *values.get("DropInPaths", ())]
    environment_files = tuple(path for path, _ in values.get("EnvironmentFiles", ()))
    files += environment_files
    files += [command.file for command in calls if command.file]
    links = ("Requires", "Wants", "ConsistsOf", "RequiredBy", "BoundBy")
    return Unit(
        name=name,
        names=frozenset({name, *values.get("Names", ())}),
        load_state=str(values.get("LoadState", "")),
        type=str(values.get("Type", "")),
        active_state=str(values.get("ActiveState", "")),
        main_pid=int(values.get("MainPID", 0)),
        control_group=str(values.get("ControlGroup", "")),
        exec_start=exec_start,
        commands=calls,
        other_commands=tuple(command for words in others for command in commands(words)),
        working_directory=str(values.get("WorkingDirectory", "")).lstrip("!-"),
        files=tuple(path for path in files if path.startswith("/")),
        environment_files=environment_files,
        needs_reload=bool(values.get("NeedDaemonReload", False)) or any(_is_newer(path, fragment) for path in sources),
        links={key: tuple(map(str, values.get(key, ()))) for key in links},
    )


def _is_newer(source: str, generated: str) -> bool:
    """Return whether a file was written after the unit that a generator made of it: systemd forgets a unit that is not
    active, and then takes the old one for new."""
    try:
        return os.stat(source).st_mtime_ns > os.stat(generated).st_mtime_ns
    except OSError:
        return False


def _execs(values: Mapping[str, Any], key: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(str, each[1])) for each in values.get(key, ()))


def kube_text(unit: Unit) -> str:
    """Return the text of the files of Kubernetes that a unit plays."""
    paths = [command.file for command in unit.commands if command.file.startswith("/")]
    return "\n".join((_content(path) or b"").decode("utf-8", "replace") for path in paths)


def wanted_images(unit: Unit) -> list[str]:
    """Return the images that a unit's command lines name, as they are written."""
    images = [command.image for command in unit.commands if command.makes_container and is_image(command.image)]
    return images + (kube_images(kube_text(unit)) if any(each.verb == "kube" for each in unit.commands) else [])


def pod_names(unit: Unit) -> set[str]:
    """Return names of which those of the unit's pods are a part."""
    return kube_names(kube_text(unit)) if any(command.verb == "kube" for command in unit.commands) else set()


def _content(path: str) -> bytes | None:
    try:
        return read_small(Path(os.path.realpath(path)), _FILE_MAX)
    except (OSError, ValueError):  # it is not there, is no file, or is too long
        return None


def _escaped(name: str) -> str:
    """Return the label of a unit's object path (sd_bus_path_encode(3))."""
    text = "".join(c if c.isascii() and c.isalnum() else "".join(f"_{byte:02x}" for byte in c.encode()) for c in name)
    return f"_{ord(text[0]):02x}{text[1:]}" if text[:1].isdigit() else text


def _scope() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("--user",)


class _Command:
    """A command that asks the manager, and is awaited where its answer is needed."""

    def __init__(self, *words: str) -> None:
        try:
            self._process = Process(words, os.environ)
        except OSError as error:
            raise StageError(f"{words[0]} cannot be run: {error.strerror}") from None

    def wait(self) -> tuple[int, str, str]:
        """Return its exit status, its output and its errors."""
        try:
            status, output, errors = self._process.wait(_TIMEOUT)
        except TimeoutError:
            raise StageError(f"the service manager does not answer within {_TIMEOUT:g} s") from None
        return status, output.decode(errors="replace"), errors.decode(errors="replace")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason was given"
