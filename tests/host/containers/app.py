"""A sample app on a test host, and what a test may change about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from testhost import TestHost, Work

SCRIPT = """#!/bin/sh
set -eu
cp /usr/bin/busybox busybox
podman build --tag {name}:latest .
"""
SERVER = "trap 'exit 0' TERM; /bin/busybox httpd -f -p {port} -h /www & wait"


@dataclass
class App:
    """One of the apps that a Quadlet runs."""

    server: TestHost
    work: Work
    name: str
    user: str
    port: int
    """The port on which it answers on the host."""
    inner_port: int
    """The port on which the server in the container listens."""

    @property
    def unit(self) -> str:
        return f"{self.name}.service"

    @property
    def quadlet(self) -> str:
        directory = "/etc/containers/systemd"
        if self.user != "root":
            directory += f"/users/{self.server.sh(f'id -u {self.user}').strip()}"
        return f"{directory}/{self.name}.container"

    def commit(self, files: dict[str, str] | None = None, command: str = SERVER, image: str = "") -> str:
        """Commit a version of the app, and return the revision. `command`: the shell command that its container runs.
        `image`: the name that its script builds, by default the one that the unit runs."""
        command = command.format(port=self.inner_port)
        containerfile = (
            f'FROM scratch\nCOPY busybox /bin/busybox\nCOPY www /www\nCMD ["/bin/busybox", "sh", "-c", "{command}"]\n'
        )
        script = SCRIPT.format(name=image or self.name)
        return self.work.commit({"Containerfile": containerfile, "ci-build.sh": script, **(files or {})})

    def deploy(self, content: str, limit: float = 90, **options: str) -> dict[str, str]:
        """Push a version with that content, and wait for the end of its job."""
        self.commit({"www/index.html": content}, **options)
        return self.server.deploy(self.work, limit)

    def deploy_good(self, files: dict[str, str] | None = None) -> str:
        """Deploy a version whose page says "good", unless it runs already, and return the image that it runs."""
        self.commit({"www/index.html": "good\n", **(files or {})})
        job = self.server.deploy(self.work)
        assert job["state"] in ("succeeded", "unchanged"), job
        assert self.answer() == "good\n"
        if job["state"] == "succeeded":
            assert job["image"] == job["running_image"] == self.image()
        return self.image()

    def answer(self) -> str:
        return self.server.get(f"http://127.0.0.1:{self.port}/")

    def podman(self, command: str) -> str:
        return self.server.as_manager(self.user, f"podman {command}")

    def image(self) -> str:
        """Return the id of the image that its container runs."""
        return self.podman(f"container inspect --format '{{{{.Image}}}}' {self.name}").strip()

    @contextmanager
    def unit_file(self, container: str = "", service: str = "", unit: str = "") -> Iterator[None]:
        """Add lines to the sections of its Quadlet while the block runs."""
        original = self.server.sh(f"cat {self.quadlet}")
        text = original
        for section, lines in (("Container", container), ("Service", service), ("Unit", unit)):
            text = text.replace(f"[{section}]\n", f"[{section}]\n{lines}\n")
        reload = f"cat >{self.quadlet}; {self.systemctl('daemon-reload')}"
        self.server.sh(reload, stdin=text)
        try:
            yield
        finally:
            self.server.sh(reload, stdin=original)

    def systemctl(self, arguments: str) -> str:
        """Return the command line that asks its manager."""
        return f"systemctl {'' if self.user == 'root' else f'--user -M {self.user}@'} {arguments}"
