"""One test host: its directory, its machine, and the ways in that a person has: SSH, git, Ansible."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from baseimage import copy_base_image
from common import CACHE, TREE, HostCommandError, locked, run_logged, say
from nspawn import ENVIRONMENT, Machine, has_pids_controller

HOSTS = CACHE / "hosts"
KEY = CACHE / "ssh-key"

SSH_CONFIG = """\
# Every name leads to this host, whatever an inventory calls it; port 22 is that of its own loopback device.
Host *
    User admin
    HostKeyAlias {name}
    ProxyCommand nsenter -t "$(cat {leader})" -n nc 127.0.0.1 22
    IdentityFile {key}
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    ControlMaster auto
    ControlPath {directory}/ssh-%r
    ControlPersist 60
    LogLevel ERROR
"""


class ThrowawayHost:
    __test__ = False  # no test of pytest's, for all its name

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
            raise HostCommandError(f"'{name}' cannot be a host's name: small letters, digits and '-', 31 at most")
        self.name = name
        self.directory = HOSTS / name
        if len(os.fsencode(self.directory)) > 80:
            problem = f"{CACHE} is too long a path for the sockets in it: set TINYCI_CACHE to a shorter one"
            raise HostCommandError(problem)
        # Two caches may each have a host of this name, while control groups are the whole machine's.
        unique = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:6]
        self.machine = Machine(self.directory, f"tinyci-{unique}-{name}")
        self.ssh_config = self.directory / "ssh_config"

    def alone(self) -> AbstractContextManager[None]:
        """Lock the host, for what must not happen twice at once."""
        return locked(HOSTS / f"{self.name}.lock")

    def exists(self) -> bool:
        return self.machine.root.exists()

    def need(self) -> None:
        if not self.exists():
            raise HostCommandError(f"there is no host {self.name}: 'host up {self.name}' makes one")

    # Its life.

    def make(self, suite: str) -> None:
        """Copy the base image, and give it a name and an identity. `root` appears only when it is complete."""
        if self.directory.exists():
            shutil.rmtree(self.directory)  # the remains of one that was cut off
        self.directory.mkdir(mode=0o700, parents=True)
        unfinished = self.directory / "root.unfinished"
        copy_base_image(suite, unfinished)
        self._personalise(unfinished)
        unfinished.rename(self.machine.root)

    def boot(self) -> None:
        self.need()
        if self.machine.runs():
            raise HostCommandError(f"host {self.name} runs already")
        self.machine.clean()
        self.machine.boot()

    def down(self) -> None:
        """Cut its power, and remove it."""
        start = time.monotonic()
        if not self.directory.exists() and not self.machine.runs():
            raise HostCommandError(f"there is no host {self.name}")
        for user in self.directory.glob("ssh-*"):
            command = ["ssh", "-F", str(self.ssh_config), "-l", user.name.removeprefix("ssh-"), "-O", "exit", self.name]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        self.machine.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.directory.exists():
            raise HostCommandError(f"{self.directory} cannot be removed: is something mounted in it?")
        say(f"removed {self.name}", start)

    def _personalise(self, root: Path) -> None:
        (root / "etc/hostname").write_text(f"{self.name}\n")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n::1 localhost\n")
        # A machine-id of its own also says that this is no first boot, which would enable every unit there is.
        (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        if not has_pids_controller():
            # The host has no controllers then, and crun refuses podman's default limit for want of one.
            conf = root / "etc/containers/containers.conf.d/test-host.conf"
            conf.parent.mkdir(parents=True)
            conf.write_text("[containers]\npids_limit = 0\n")
        # Its package lists are the base image's. No network leads to newer ones, and a playbook that finds these
        # fresh enough (cache_valid_time) does not look for them.
        stamp = root / "var/lib/apt/periodic/update-success-stamp"
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        self._let_in(root)

    def _let_in(self, root: Path) -> None:
        with locked(CACHE / "ssh-key.lock"):
            if not KEY.exists():
                new = CACHE / "ssh-key.new"
                new.unlink(missing_ok=True)
                command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(new)]
                run_logged(command, CACHE / "ssh-key.log")
                (CACHE / "ssh-key.new.pub").rename(f"{KEY}.pub")
                new.rename(KEY)
        home = root / "home/admin"
        owner = home.stat()
        ssh = home / ".ssh"
        ssh.mkdir(mode=0o700)
        authorized_keys = ssh / "authorized_keys"
        authorized_keys.write_text(Path(f"{KEY}.pub").read_text())
        for path in (ssh, authorized_keys):
            os.chown(path, owner.st_uid, owner.st_gid)
        known_hosts = self.directory / "known_hosts"
        known_hosts.write_text(f"{self.name} {(root / 'etc/ssh/ssh_host_ed25519_key.pub').read_text()}")
        self.ssh_config.write_text(
            SSH_CONFIG.format(
                name=self.name,
                leader=self.machine.leader_file,
                key=KEY,
                known_hosts=known_hosts,
                directory=self.directory,
            )
        )

    # The ways in.

    def execute(self, command: Sequence[str]) -> None:
        """Become the command, run as root in the host. Does not return."""
        enter = self.machine.entering(command)
        self.machine.join_cgroup()
        os.execvpe(enter[0], enter, ENVIRONMENT)

    def ssh(self, arguments: Sequence[str]) -> None:
        """Become an ssh to it, as user admin. Does not return."""
        self.machine.leader()
        os.execvp("ssh", ["ssh", "-F", str(self.ssh_config), self.name, *arguments])

    def push(self, directory: str, repo: str, arguments: Sequence[str]) -> None:
        """Become a git push to it, as a person's: over SSH, as user git. Does not return."""
        self.machine.leader()
        refspecs = [] if any(not argument.startswith("-") for argument in arguments) else ["HEAD:refs/heads/master"]
        url = f"git@{self.name}:/srv/git/{repo.removesuffix('.git')}.git"
        command = ["git", "-C", directory, "push", *(a for a in arguments if a.startswith("-")), url]
        command += [*(a for a in arguments if not a.startswith("-")), *refspecs]
        os.execvpe("git", command, {**os.environ, "GIT_SSH_COMMAND": f"ssh -F '{self.ssh_config}'"})

    def provision(self, inventory: Path, arguments: Sequence[str]) -> None:
        """Run the project's playbooks on it, over SSH as user admin, as for any server."""
        self.machine.leader()
        path = f"{TREE / '.venv/bin'}:{os.environ['PATH']}"
        if not shutil.which("ansible-playbook", path=path):
            raise HostCommandError("ansible-playbook is not installed: run tests/prepare")
        environment = {
            **os.environ,
            "PATH": path,
            "LC_ALL": "C.UTF-8",  # it refuses to run in another encoding
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_SSH_ARGS": f"-F '{self.ssh_config}'",
        }
        key = Path(f"{KEY}.pub").read_text().strip()
        for playbook in ("server.yml", "apps.yml"):
            start = time.monotonic()
            say(f"run {playbook} on {self.name}")
            command = ["ansible-playbook", "--inventory", str(inventory.resolve()), playbook]
            command += ["--extra-vars", json.dumps({"git_authorized_keys": [key]}), *arguments]
            status = subprocess.run(command, cwd=TREE / "ansible", stdin=subprocess.DEVNULL, env=environment).returncode
            if status:
                problem = f"{playbook} failed on host {self.name}: ansible-playbook ended with status {status}"
                raise HostCommandError(problem)
            say(f"{playbook} is done", start)
