"""The host as the caller may see it: commands with a limit, units, files, the system bus."""

import asyncio
import grp
import os
import pwd
import signal
import socket
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from tinyci.dbus.bus import Bus
from tinyci.doctor.lastwords import last_words
from tinyci.runtime.username import name_of

LIMIT = 20.0
"""Seconds that a command may take."""
TOO_LATE = 124
"""Status of a command that took longer, as that of timeout(1)."""
PATIENCE = 10.0
"""Seconds that a service may take for an answer out of its memory."""
_AT_ONCE = 4
_PROPERTIES = (
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "StatusText",
    "MainPID",
    "InvocationID",
    "NRestarts",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "TimeoutStartUSec",
    "LogRateLimitIntervalUSec",
    "LogRateLimitBurst",
    "ExecStart",
    "User",
)

UnitProperties = Mapping[str, str]
"""Properties as `systemctl show` has them; empty when the manager could not be asked."""


@dataclass(frozen=True)
class CommandResult:
    """A command that has ended. `status` is negative for a signal, 124 when it took too long, 127 when not found."""

    status: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of its errors, or else of its output, that says something."""
        return last_words(self.err.splitlines()) or last_words(self.out.splitlines()) or f"status {self.status}"


@dataclass(frozen=True)
class File:
    """A path, by stat(2)."""

    owner: str
    group: str
    mode: int
    """Permission bits."""
    is_directory: bool

    @property
    def rights(self) -> str:
        return f"{self.mode:o} {self.owner}:{self.group}"


class System:
    """The host that is examined. Methods do not raise, except ask(): an answer that cannot be had is empty, or None."""

    def __init__(self) -> None:
        self.is_root = os.geteuid() == 0
        self.me = name_of(os.geteuid())
        self._bus: Bus | None = None
        self._connecting = asyncio.Lock()
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._questions = asyncio.Semaphore(_AT_ONCE)  # the daemon answers few of one caller at once

    def may_be(self, user: str) -> bool:
        """Return whether commands can be run as that user."""
        return self.is_root or user == self.me

    async def run(self, *command: str, user: str = "", limit: float = LIMIT, **environment: str) -> CommandResult:
        """Run a command, as that user when one is named, without input and from `/`."""
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            **environment,
        }
        become: dict[str, Any] = {}
        if user and user != self.me:
            entry = pwd.getpwnam(user)
            groups = os.getgrouplist(user, entry.pw_gid)
            become = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
        if user or self.me:
            entry = pwd.getpwnam(user or self.me)
            variables = {"HOME": entry.pw_dir, "USER": entry.pw_name, **variables}
            variables.setdefault("XDG_RUNTIME_DIR", f"/run/user/{entry.pw_uid}")
        async with self._turn:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=variables,
                    cwd="/",
                    start_new_session=True,  # so that a limit ends all of it
                    **become,
                )
            except OSError as error:
                return CommandResult(127, "", f"{command[0]}: {error.strerror}")
            try:
                async with asyncio.timeout(limit):
                    out, err = await process.communicate()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                return CommandResult(TOO_LATE, "", f"{command[0]} took longer than {limit:g} s")
        return CommandResult(process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    async def units(self, *names: str, user: str = "root") -> list[UnitProperties]:
        """The properties of units by their manager, in that order."""
        command = [*self.systemctl(user), "show", "--property", ",".join(_PROPERTIES), "--", *names]
        result = await self.run(*command, limit=LIMIT if user == "root" else PATIENCE)
        blocks: list[UnitProperties] = [parse_properties(block) for block in result.out.strip().split("\n\n")]
        if result.status or len(blocks) != len(names):
            return [{} for _ in names]
        return blocks

    def systemctl(self, user: str) -> list[str]:
        """The command that asks the manager of that user."""
        if user == "root":
            return ["systemctl"]
        return ["systemctl", "--user", *([f"--machine={user}@.host"] if self.is_root else [])]

    async def ask(
        self, name: str, path: str, interface: str, member: str, signature: str = "", *body: Any, limit: float = LIMIT
    ) -> list[Any]:
        """Call over the system bus. Raises BusError and BusGoneError."""
        async with self._connecting:
            if self._bus is None or not self._bus.connected:
                self._bus = await Bus.connect()
        async with self._questions:
            return await self._bus.call(name, path, interface, member, signature, *body, timeout=limit)

    async def close(self) -> None:
        if self._bus:
            await self._bus.close()

    def file(self, path: str) -> File | None:
        """Return None when there is nothing, or it is out of reach."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        names = name_of(status.st_uid), group_of(status.st_gid)
        return File(*names, stat.S_IMODE(status.st_mode), stat.S_ISDIR(status.st_mode))

    def reaches(self, path: str) -> bool:
        """Return whether the caller may know if there is something at that path."""
        try:
            os.stat(path)
        except PermissionError:
            return False
        except OSError:
            return True
        return True

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def listens(self, path: str) -> bool:
        """Return whether something takes connections at that socket."""
        with closing(socket.socket(socket.AF_UNIX)) as trial:
            trial.settimeout(PATIENCE)
            try:
                trial.connect(path)
            except OSError:
                return False
        return True

    def real(self, path: str) -> str:
        """The path without links."""
        return os.path.realpath(path)

    def read(self, path: str) -> str | None:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def link(self, path: str) -> str:
        """The target of a symbolic link, empty when it is none."""
        try:
            return os.readlink(path)
        except OSError:
            return ""


def parse_properties(text: str) -> dict[str, str]:
    """`Name=value` lines."""
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def user_entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def group_of(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def own_drop_ins(system: System, unit: UnitProperties, setting: str, but: Sequence[str] = ()) -> list[str]:
    """The unit's drop-ins that set `setting`, without those at the paths `but`."""
    paths = [path for path in unit.get("DropInPaths", "").split() if path not in but]
    return [path for path in paths if setting in (system.read(path) or "")]
