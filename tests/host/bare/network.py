"""A network with a test host at one end and a person at the other: two network namespaces, and a cable between."""

import base64
import http.client
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Self

SERVER, PERSON = "192.0.2.1", "192.0.2.2"  # of the net that is kept for documentation (RFC 5737)


class Network:
    """The person's end. `plug` connects it whenever the host has booted; it ends with this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # A namespace lives as long as a process in it: `cat`, which ends with us.
        self._person = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo apart; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._person.stdout
        assert self._person.stdout.readline() == b"apart\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._person.kill()
        self._person.wait()

    def plug(self, ssh_port: int) -> None:
        """Lay the cable, and lead the host's ssh_config through it."""
        config = self._directory / "ssh_config"
        # What goes on over an older cable would hang.
        for user in self._directory.glob("ssh-*"):
            command = ["ssh", "-F", config, "-l", user.name.removeprefix("ssh-"), "-O", "exit", "host"]
            subprocess.run(command, capture_output=True)
        host = (self._directory / "leader").read_text().strip()
        person = str(self._person.pid)
        self._ip(host, f"link add host0 type veth peer name person netns {person}")
        for where, device, address in ((host, "host0", SERVER), (person, "person", PERSON)):
            self._ip(where, f"address add {address}/24 dev {device}")
            self._ip(where, f"link set {device} up")
        proxy = f"ProxyCommand nsenter -t {person} -n nc {SERVER} {ssh_port}"
        config.write_text(re.sub("ProxyCommand .*", proxy, config.read_text()))

    def _ip(self, where: str, arguments: str) -> None:
        subprocess.run(["nsenter", "-t", where, "-n", "ip", *arguments.split()], check=True)

    def is_open(self, port: int) -> bool:
        """Return whether the server takes a connection of the person's. A dropped one shows after a second."""
        command = ["nc", "-z", "-w", "1", SERVER, str(port)]
        return subprocess.run(["nsenter", "-t", str(self._person.pid), "-n", *command]).returncode == 0

    def get(self, name: str, path: str = "/", *, tls: bool = False, user: str = "") -> str:
        """Return status and page that the person's browser gets from http://NAME/PATH, or https://.

        `user`: NAME:PASSWORD, of Basic authentication."""
        command = ["nsenter", "-t", str(self._person.pid), "-n", sys.executable, __file__]
        command += ["https" if tls else "http", name, path, user]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert result.returncode == 0, result.stderr
        return result.stdout


def main() -> None:
    """Run in the person's namespace."""
    scheme, name, path, user = sys.argv[1:]
    connection = http.client.HTTPConnection(SERVER, timeout=20)
    if scheme == "https":
        # The certificate is the server's own.
        connection = http.client.HTTPSConnection(SERVER, timeout=20, context=ssl._create_unverified_context())
    headers = {"Host": name}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode(), end="")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"{SERVER}: {error}")
