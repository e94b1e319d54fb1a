"""A booted file tree: systemd-nspawn where PID 1 need not be systemd, one control group per host, real reboots."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import HostCommandError, say, tail

BOOT_SECONDS = 120
# nspawn(1): with --keep-unit a reboot inside ends nspawn with this status, for its caller to run it again.
REBOOTED = 133

NSPAWN = (
    "systemd-nspawn",
    "--quiet",
    "--boot",
    "--keep-unit",
    "--register=no",
    "--notify-ready=yes",
    "--private-network",
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
    # What podman does inside needs more than a container is usually given.
    "--capability=all",
    "--system-call-filter=add_key keyctl bpf @keyring",
)

ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL": "/bin/bash",
    "TERM": os.environ.get("TERM", "dumb"),
    "USER": "root",
}


def _cgroup2() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise HostCommandError("no cgroup v2 hierarchy is mounted here, and a test host cannot boot without one")


def has_pids_controller() -> bool:
    """False where the outer machine keeps its controllers in cgroup v1: hosts then have none."""
    return "pids" in (_cgroup2() / "cgroup.controllers").read_text().split()


class Machine:
    """The running side of a host. Its directory holds `root` (the tree), and while it runs `leader` (its PID 1 as
    seen from outside) and `ready` (the same, once it has booted)."""

    def __init__(self, directory: Path, unique_name: str) -> None:
        self.directory = directory
        self.host = directory.name
        self.root = directory / "root"
        self.leader_file = directory / "leader"
        self.ready_file = directory / "ready"
        self.console = directory / "console.log"
        self.name = unique_name
        self.cgroup = _cgroup2() / unique_name

    # From outside.

    def runs(self) -> bool:
        try:
            return "populated 1" in (self.cgroup / "cgroup.events").read_text()
        except FileNotFoundError:
            return False

    def leader(self) -> int:
        try:
            pid = int(self.leader_file.read_text())
            # The file may be older than a reboot of the outer machine, and the number long another's.
            if f"/{self.name}/" in Path(f"/proc/{pid}/cgroup").read_text():
                return pid
        except FileNotFoundError:
            pass
        raise HostCommandError(f"host {self.host} does not run: 'host boot {self.host}' starts it")

    def boot(self) -> None:
        """Start it and wait until systemd inside says that it has started everything."""
        start = time.monotonic()
        keeper = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(self.directory), self.name],
            stdin=subprocess.DEVNULL,
            stdout=self.console.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
        self._wait_ready(start, lambda: keeper.poll() is None)
        say(f"booted {self.host}, which is {self.state()}", start)

    def reboot(self) -> None:
        start = time.monotonic()
        before = self.leader()
        self.run(["systemctl", "--no-block", "reboot"])
        self._wait_ready(start, self.runs, not_leader=before)
        say(f"rebooted {self.host}, which is {self.state()}", start)

    def _wait_ready(self, start: float, alive: Callable[[], bool], not_leader: int | None = None) -> None:
        while self._ready_leader() in (None, not_leader):
            problem = ""
            if not alive():
                problem = "stopped while it booted"
            elif time.monotonic() - start > BOOT_SECONDS:
                problem = f"did not boot within {BOOT_SECONDS} s"
            if problem:
                raise HostCommandError(f"host {self.host} {problem}; the end of {self.console}:\n{tail(self.console)}")
            time.sleep(0.02)

    def _ready_leader(self) -> int | None:
        """Return PID 1 of a complete boot. One file says both: two might be of two boots."""
        try:
            return int(self.ready_file.read_text())
        except FileNotFoundError:
            return None

    def state(self) -> str:
        """Return what systemctl is-system-running says, with the failed units if there are any."""
        answer = self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
        if answer == "running":
            return answer
        units = self.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"], check=False).stdout
        return f"{answer}, failed: {' '.join(line.split()[0] for line in units.splitlines()) or 'nothing'}"

    def entering(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command in the host as root. It is killed with its caller."""
        enter = ["nsenter", "-t", str(self.leader()), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        return [*enter, "setpriv", "--pdeathsig", "KILL", "--", *command]

    def join_cgroup(self) -> None:
        """Move this process into the host's control group, so that what it starts there is the host's own."""
        group = self.cgroup / "machine" / "payload" / "outside.slice"
        try:
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except FileNotFoundError:
            raise HostCommandError(f"host {self.host} is going down") from None

    def run(self, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            self.entering(command),
            preexec_fn=self.join_cgroup,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
        if check and result.returncode:
            reason = result.stderr.strip()
            raise HostCommandError(f"in the host, {' '.join(command)} ended with status {result.returncode}: {reason}")
        return result

    def kill(self) -> None:
        """Cut the power: kill every process at once."""
        if self.runs():
            # The keeper is spared: it reaps nspawn, then ends by itself.
            (self.cgroup / "machine" / "cgroup.kill").write_text("1")
            deadline = time.monotonic() + 10
            while self.runs():
                if time.monotonic() > deadline:
                    raise HostCommandError(f"host {self.host} has processes in {self.cgroup} 10 s after SIGKILL")
                time.sleep(0.01)
        self.clean()

    def clean(self) -> None:
        """Take away what a run leaves outside the host's directory."""
        for file in (self.leader_file, self.ready_file, self.directory / "notify"):
            file.unlink(missing_ok=True)
        self._remove_cgroup(self.cgroup)
        # nspawn's own, which it leaves when it is killed. In the hierarchy that systemd 252 calls legacy it makes
        # groups of the same name.
        self._remove_cgroup(Path("/sys/fs/cgroup/systemd") / self.name)
        for kind in ("propagate", "unix-export"):
            directory = Path("/run/systemd/nspawn", kind, self.name)
            if directory.is_dir():
                directory.rmdir()
        if self.root.exists():
            inode = self.root.stat()
            Path(f"/run/systemd/nspawn/locks/inode-{inode.st_dev}:{inode.st_ino}").unlink(missing_ok=True)

    def _remove_cgroup(self, group: Path) -> None:
        for directory, _, _ in os.walk(group, topdown=False):
            Path(directory).rmdir()

    # Inside the keeper, the process that stands for the power supply: it boots the tree again when it reboots.

    def keep(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        keeper = self.cgroup / "keeper"
        keeper.mkdir(parents=True, exist_ok=True)
        (keeper / "cgroup.procs").write_text(str(os.getpid()))
        try:
            while self._run_once() == REBOOTED:
                pass
        finally:
            # The last process of the group cannot remove it: `clean` does, from outside.
            for file in (self.leader_file, self.ready_file):
                file.unlink(missing_ok=True)

    def _run_once(self) -> int:
        group = self.cgroup / "machine"
        self._remove_cgroup(group)
        group.mkdir()
        for file in (self.leader_file, self.ready_file, self.directory / "notify"):
            file.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(self.directory / "notify"))
            nspawn = subprocess.Popen(
                [*NSPAWN, f"--directory={self.root}", f"--machine={self.name}"],
                preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
                stdin=subprocess.DEVNULL,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": str(self.directory / "notify"),
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                },
            )
            nspawn_end = os.pidfd_open(nspawn.pid)
            while True:
                readable, _, _ = select.select([notify.fileno(), nspawn_end], [], [])
                if notify.fileno() in readable:
                    self._notified(notify.recv(65536).decode(errors="replace"))
                else:
                    os.close(nspawn_end)
                    return nspawn.wait()

    def _notified(self, message: str) -> None:
        for line in message.splitlines():
            key, _, value = line.partition("=")
            if key == "X_NSPAWN_LEADER_PID":
                self._write(self.leader_file, f"{value}\n")
            elif line == "READY=1":
                self._write(self.ready_file, self.leader_file.read_text())

    def _write(self, file: Path, text: str) -> None:
        whole = file.with_name(file.name + ".new")
        whole.write_text(text)
        whole.rename(file)


if __name__ == "__main__":
    Machine(Path(sys.argv[1]), sys.argv[2]).keep()
