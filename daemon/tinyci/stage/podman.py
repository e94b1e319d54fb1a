"""podman, run as the user of the stage: the containers of units, the names of images.

Source: podman-ps(1), podman-images(1), podman-inspect(1). Everything here works with podman 4.3.
"""

import json
import shutil
import subprocess
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

LABEL = "PODMAN_SYSTEMD_UNIT"
"""The label by which podman itself knows the unit of a container (podman-auto-update(1))."""
_TIMEOUT = 120.0
"""Seconds that one command may take: storage is locked while a build commits a large layer."""


class PodmanError(Exception):
    """podman failed; the text is the last line of its error."""


class Container(NamedTuple):
    """A container, running or not."""

    id: str
    name: str
    unit: str
    image_name: str
    """Name of the image that it was created from: `localhost/web:latest`."""
    image: str
    """Id of the image that it runs, 64 hexadecimal digits."""
    running: bool
    is_past_init: bool = False
    """True for an init container of a pod that has done its work: it exited with 0 before the pod's others began."""

    @property
    def is_well(self) -> bool:
        return self.running or self.is_past_init


def is_installed() -> bool:
    """A repo can do without containers, and a host without podman."""
    return shutil.which("podman") is not None


def containers(units: Collection[str]) -> list[Container]:
    """Return the containers of those units, and those of the units' pods."""
    rows = [row for row in _json("ps", "--all", "--no-trunc", "--format", "json") if isinstance(row, dict)]
    labels = {row["Id"]: str((row.get("Labels") or {}).get(LABEL)) for row in rows}
    unit_of = {container: unit for container, unit in labels.items() if unit in units}
    unit_of_pod = {row["Pod"]: unit_of[row["Id"]] for row in rows if row.get("IsInfra") and row["Id"] in unit_of}
    # The image of an infra container is podman's own.
    rows = [row for row in rows if not row.get("IsInfra") and (row["Id"] in unit_of or row.get("Pod") in unit_of_pod)]
    past_inits = _past_inits(rows)
    return [
        Container(
            id=row["Id"],
            name=(row.get("Names") or [row["Id"][:12]])[0],
            unit=unit_of.get(row["Id"]) or unit_of_pod[row["Pod"]],
            image_name=row.get("Image") or "",
            image=row.get("ImageID") or "",
            running=row.get("State") == "running",
            is_past_init=row["Id"] in past_inits,
        )
        for row in rows
    ]


def _past_inits(rows: list[dict[str, Any]]) -> set[str]:
    """Return the ids of init containers that have done their work (podman-create(1), --init-ctr=always; one that runs
    once is removed). Neither ps nor inspect names them. The command that made one does; of what a file of Kubernetes
    made, the order tells: init containers end before the pod's others are started."""
    exited = [row for row in rows if row.get("Pod") and row.get("State") == "exited" and row.get("ExitCode") == 0]
    pods = {row["Pod"] for row in exited}
    others = [row for row in rows if row.get("Pod") in pods and row.get("State") == "running"]
    if not exited or not others:
        return set()
    details = {each["Id"]: each for each in _json("container", "inspect", *(row["Id"] for row in (*exited, *others)))}
    starts: dict[str, list[datetime]] = {}
    for row in others:
        starts.setdefault(row["Pod"], []).append(datetime.fromisoformat(details[row["Id"]]["State"]["StartedAt"]))
    ids = set()
    for row in exited:
        detail = details[row["Id"]]
        command = detail["Config"].get("CreateCommand") or []
        is_first = row["Pod"] in starts and datetime.fromisoformat(detail["State"]["FinishedAt"]) <= min(
            starts[row["Pod"]]
        )
        if is_first and (not command or any(word.startswith("--init-ctr") for word in command)):
            ids.add(row["Id"])
    return ids


def images() -> dict[str, str]:
    """Return the id of each image by each of its names."""
    rows = _json("images", "--no-trunc", "--format", "json")
    return {name: row["Id"].removeprefix("sha256:") for row in rows for name in row.get("Names") or ()}


def has_image(image: str) -> bool:
    """Return True if there is an image of that id or name."""
    return _run("image", "exists", image).returncode == 0


def tag(image: str, name: str) -> None:
    """Give an image one more name, and take it from another image that has it."""
    _output("tag", image, name)


def remove_name(name: str) -> None:
    """Remove a name, and with an image's last name the image. Raises PodmanError while a container uses that."""
    _output("rmi", name)


def health(container: str) -> str:
    """Return `healthy`, `unhealthy`, `starting`, or an empty string for a container without a healthcheck."""
    state = _json("container", "inspect", container)[0].get("State") or {}
    check = state.get("Health") or state.get("Healthcheck") or {}
    return str(check.get("Status") or "")


def _json(*arguments: str) -> list[Any]:
    text = _output(*arguments)
    try:
        return list(json.loads(text or "[]") or [])
    except ValueError:
        raise PodmanError(f"podman {arguments[0]} printed no JSON") from None


def _output(*arguments: str) -> str:
    process = _run(*arguments)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or [f"status {process.returncode}"]
        raise PodmanError(f"podman {arguments[0]}: {lines[-1].removeprefix('Error: ')}")
    return process.stdout


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
