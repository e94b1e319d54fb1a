"""A server as a person gets it, with nothing of ours on it, and that person."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import Network
from person import SSH_PORT, Person
from testhost import HOST, TestHost


@pytest.fixture(scope="session")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    server = TestHost(os.environ.get("TINYCI_BARE_HOST") or f"bare-{os.getpid()}")
    try:
        _boot(server)
        server.sh(f"echo Port {SSH_PORT} >/etc/ssh/sshd_config.d/port.conf; systemctl restart ssh")
        config = subprocess.run([HOST, "ssh-config", server.name], capture_output=True, text=True, check=True).stdout
        directory = Path(config.strip()).parent
        with Network(directory) as network:
            network.plug(SSH_PORT)
            yield Person(server, network, directory, tmp_path_factory.mktemp("person"))
    finally:
        server.host("down", server.name)


def _boot(server: TestHost) -> None:
    """Boot a server of Debian's testing, the next release; of the present one where no mirror has that."""
    try:
        server.host("up", server.name, "--bare", "--suite", "testing")
    except subprocess.CalledProcessError:
        print("Debian's testing cannot be had: the bare server is of the present release")
        server.host("up", server.name, "--bare")
