"""A person who sets a server up and pushes to it: an inventory, and SSH from elsewhere."""

import shutil
import subprocess
from pathlib import Path

from network import Network
from testhost import HOST, TREE, HostError, TestHost

SSH_PORT = 2222  # of the person's choice, and unknown to the playbooks
VENV = TREE / ".venv" / "bin"


class Person:
    """The person who sets the server up."""

    def __init__(self, server: TestHost, network: Network, directory: Path, home: Path) -> None:
        self.server = server
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
        """Return a variable for the inventory, as Ansible Vault writes it."""
        command = [VENV / "ansible-vault", "encrypt_string", "--vault-password-file", self.vault_password]
        result = subprocess.run([*command, "--name", name, value], capture_output=True, text=True, check=True)
        return result.stdout

    def run_playbooks(self, *arguments: str, fails: bool = False) -> str:
        """Run both from elsewhere, over SSH, and return what they print."""
        command = [HOST, "provision", "--inventory", str(self.inventory / "hosts.yml"), self.server.name]
        command += ["--vault-password-file", str(self.vault_password), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result.stdout

    def ssh(self, command: str, limit: float = 600, stdin: bytes = b"") -> str:
        """Run a command on the server as admin."""
        ssh = ["ssh", "-F", str(self.ssh_config), self.server.name, command]
        result = subprocess.run(ssh, input=stdin, capture_output=True, timeout=limit)
        if result.returncode:
            raise HostError(
                f"{command}\nended with status {result.returncode}:\n{result.stdout.decode()}{result.stderr.decode()}"
            )
        return result.stdout.decode()

    def open_connection(self) -> subprocess.Popen[bytes]:
        """Open a new connection to the server, on which `cat` answers."""
        command = ["ssh", "-F", str(self.ssh_config), "-o", "ControlPath=none", self.server.name, "cat"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def reboot(self) -> None:
        self.server.host("reboot", self.server.name)
        self.network.plug(SSH_PORT)
