"""Who sets a server up and pushes to it: an inventory, and SSH from elsewhere."""

import shutil
import subprocess
from pathlib import Path

from network import Network
from testhost import HOST, TREE, HostError, TestHost

SSH_PORT = 2222  # of the person's choice, and unknown to the playbooks
VENV = TREE / ".venv" / "bin"


class Person:
    """Who sets the server up and pushes to it."""

    def __init__(self, box: TestHost, network: Network, directory: Path, home: Path) -> None:
        self.box = box
        self.network = network
        self.ssh_config = directory / "ssh_config"
        self.inventory = home / "inventory"
        shutil.copytree(TREE / "ansible" / "example", self.inventory)
        self.vault_password = home / "vault-password"
        self.vault_password.write_text("the person's own\n")
        self.public_key = directory.parents[1] / "ssh-key.pub"

    def change(self, file: str, old: str, new: str) -> None:
        """Edit the inventory."""
        path = self.inventory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def encrypt(self, name: str, value: str) -> str:
        """A variable for the inventory, as Ansible Vault writes it."""
        command = [VENV / "ansible-vault", "encrypt_string", "--vault-password-file", self.vault_password]
        done = subprocess.run([*command, "--name", name, value], capture_output=True, text=True, check=True)
        return done.stdout

    def playbooks(self, *arguments: str, fails: bool = False) -> str:
        """Run both from elsewhere, over SSH; what they print."""
        command = [HOST, "provision", "--inventory", str(self.inventory / "hosts.yml"), self.box.name]
        command += ["--vault-password-file", str(self.vault_password), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout

    def ssh(self, command: str, limit: float = 600, stdin: bytes = b"") -> str:
        """Run a command on the server as admin."""
        ssh = ["ssh", "-F", str(self.ssh_config), self.box.name, command]
        done = subprocess.run(ssh, input=stdin, capture_output=True, timeout=limit)
        if done.returncode:
            raise HostError(
                f"{command}\nended with status {done.returncode}:\n{done.stdout.decode()}{done.stderr.decode()}"
            )
        return done.stdout.decode()

    def held(self) -> subprocess.Popen[bytes]:
        """A connection of its own to the server, on which `cat` answers."""
        command = ["ssh", "-F", str(self.ssh_config), "-o", "ControlPath=none", self.box.name, "cat"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def reboot(self) -> None:
        self.box.host("reboot", self.box.name)
        self.network.plug(SSH_PORT)
