"""podman, as the user that a stage runs as: the containers of a unit, the names of images.

Source: podman-ps(1), podman-images(1), podman-inspect(1). Everything here works with podman 4.3.
"""

import json
import shutil
import subprocess
from collections.abc import Collection
from typing import Any, NamedTuple

LABEL = "PODMAN_SYSTEMD_UNIT"
"""The label by which podman itself knows the unit of a container (podman-auto-update(1))."""
_TIMEOUT = 120.0
"""Seconds that one command may take: storage is locked while a build commits a large layer."""


class PodmanError(Exception):
    """podman failed; one line of what it said."""


class Container(NamedTuple):
    """A container that is there, running or not."""

    id: str
    name: str
    unit: str
    image_name: str
    """As it was created from: `localhost/web:latest`."""
    image: str
    """The id of the image that it runs, 64 hexadecimal digits."""
    running: bool


def is_there() -> bool:
    """Whether podman is installed at all: a repo can do without containers."""
    return shutil.which("podman") is not None


def containers(units: Collection[str]) -> list[Container]:
    """The containers of those units; those of a pod whose infra container is one of them included."""
    rows = [row for row in _json("ps", "--all", "--no-trunc", "--format", "json") if isinstance(row, dict)]
    labelled = {row["Id"]: unit for row in rows if (unit := (row.get("Labels") or {}).get(LABEL)) in units}
    pods = {row["Pod"]: labelled[row["Id"]] for row in rows if row.get("IsInfra") and row["Id"] in labelled}
    return [
        Container(
            id=row["Id"],
            name=(row.get("Names") or [row["Id"][:12]])[0],
            unit=unit,
            image_name=row.get("Image") or "",
            image=row.get("ImageID") or "",
            running=row.get("State") == "running",
        )
        for row in rows
        # The image of an infra container is podman's own.
        if not row.get("IsInfra") and (unit := labelled.get(row["Id"]) or pods.get(row.get("Pod") or ""))
    ]


def images() -> dict[str, str]:
    """The id of each image by each of its names."""
    rows = _json("images", "--no-trunc", "--format", "json")
    return {name: row["Id"].removeprefix("sha256:") for row in rows for name in row.get("Names") or ()}


def has_image(image: str) -> bool:
    """Whether an image of that id or name is there."""
    return _run("image", "exists", image).returncode == 0


def tag(image: str, name: str) -> None:
    """Give an image one more name, taken from another image if that has it."""
    _checked("tag", image, name)


def remove(name: str) -> None:
    """Take a name away, and with an image's last name the image. Raises PodmanError while a container uses that."""
    _checked("rmi", name)


def health(container: str) -> str:
    """`healthy`, `unhealthy`, `starting`, or empty when the container has no healthcheck."""
    state = _json("container", "inspect", container)[0].get("State") or {}
    found = state.get("Health") or state.get("Healthcheck") or {}
    return str(found.get("Status") or "")


def _json(*arguments: str) -> list[Any]:
    out = _checked(*arguments)
    try:
        return list(json.loads(out or "[]") or [])
    except ValueError:
        raise PodmanError(f"podman {arguments[0]} printed no JSON") from None


def _checked(*arguments: str) -> str:
    done = _run(*arguments)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise PodmanError(f"podman {arguments[0]}: {lines[-1].removeprefix('Error: ')}")
    return done.stdout


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ("podman", *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PodmanError(f"podman {arguments[0]} did not end within {_TIMEOUT:g} s") from None
    except OSError as error:
        raise PodmanError(f"podman cannot be run: {error.strerror}") from None
