"""podman, run as the user of the stage: the containers of units, the names of images.

Source: podman-ps(1), podman-images(1), podman-inspect(1). Everything here works with podman 4.3.

A build begins with it: what only an answer needs is imported when there is one.
"""

import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from tinyci.stage.process import Process
from tinyci.stage.status import StageError

LABEL = "PODMAN_SYSTEMD_UNIT"
"""The label by which podman itself knows the unit of a container (podman-auto-update(1))."""
_PROJECT_LABELS = ("io.podman.compose.project", "com.docker.compose.project")
_TIMEOUT = 120.0
"""Seconds that one command may take: storage is locked while a build commits a large layer."""


class PodmanError(StageError):
    """podman failed; the text is the last line of its error."""


class Container(NamedTuple):
    """A container, running or not."""

    id: str
    name: str
    label: str
    """The unit that podman knows it by, or empty."""
    image_name: str
    """Name of the image that it was created from: `localhost/web:latest`."""
    image: str
    """Id of the image that it runs, 64 hexadecimal digits."""
    state: str
    """`running`, `exited`, `created`, …"""
    exit_code: int = 0
    health: str = ""
    """`healthy`, `unhealthy`, `starting`, or empty without a healthcheck."""
    pod: str = ""
    """Id of its pod."""
    pod_name: str = ""
    is_infra: bool = False
    """True for the container that holds the namespaces of a pod; its image is podman's own."""
    is_past_init: bool = False
    """True for an init container of a pod that has done its work: it exited with 0 before the pod's others began."""
    project: str = ""
    """Its compose project."""
    monitor: int = 0
    """Process id of its conmon; 0 while it does not run."""
    control_group: str = ""
    """That of its conmon, an absolute path in the hierarchy of cgroup v2."""

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    @property
    def has_ended_well(self) -> bool:
        # `stopped`: its conmon was killed with the unit of type oneshot that ran it, before it had cleaned up.
        return self.state in ("exited", "stopped") and self.exit_code == 0


class Answer(NamedTuple):
    """The end of a command."""

    status: int
    output: str
    errors: str


class _Command:
    """A command of podman's that was started, and is awaited where its answer is needed."""

    def __init__(self, *arguments: str) -> None:
        self._name = arguments[0]
        try:
            self._process = Process(("podman", *arguments), os.environ)
        except OSError as error:
            raise PodmanError(f"podman cannot be run: {error.strerror}") from None

    def answer(self, timeout: float = _TIMEOUT) -> Answer:
        try:
            status, output, errors = self._process.wait(timeout)
        except TimeoutError:
            raise PodmanError(f"podman {self._name} did not end within {timeout:g} s") from None
        return Answer(status, output.decode(errors="replace"), errors.decode(errors="replace"))

    def output(self) -> str:
        answer = self.answer()
        if answer.status:
            lines = answer.errors.strip().splitlines() or [f"status {answer.status}"]
            raise PodmanError(f"podman {self._name}: {lines[-1].removeprefix('Error: ')}")
        return answer.output

    def rows(self) -> list[Any]:
        import json

        try:
            return list(json.loads(self.output() or "[]") or [])
        except ValueError:
            raise PodmanError(f"podman {self._name} printed no JSON") from None


def is_installed() -> bool:
    """A repo can do without containers, and a host without podman."""
    return any(os.access(os.path.join(directory, "podman"), os.X_OK) for directory in os.get_exec_path())


class ContainerListing:
    """All containers of the user at the time that this is made; podman is still at it while others are asked."""

    def __init__(self) -> None:
        self._command = _Command("ps", "--all", "--no-trunc", "--format", "json")

    def read(self) -> list[Container]:
        """Return them."""
        rows = [row for row in self._command.rows() if isinstance(row, dict)]
        past_inits = _past_inits([row for row in rows if not row.get("IsInfra")])
        return [_container(row, is_past_init=row["Id"] in past_inits) for row in rows]


def containers() -> list[Container]:
    """Return all containers of the user."""
    return ContainerListing().read()


def _container(row: dict[str, Any], *, is_past_init: bool) -> Container:
    labels = row.get("Labels") or {}
    health = re.search(r"\((healthy|unhealthy|starting)\)", str(row.get("Status") or ""))
    is_running = row.get("State") == "running"
    monitor = _parent(int(row.get("Pid") or 0)) if is_running else 0
    return Container(
        id=row["Id"],
        name=(row.get("Names") or [row["Id"][:12]])[0],
        label=str(labels.get(LABEL) or ""),
        image_name=row.get("Image") or "",
        image=row.get("ImageID") or "",
        state=str(row.get("State") or ""),
        exit_code=int(row.get("ExitCode") or 0),
        health=health[1] if health else "",
        pod=str(row.get("Pod") or ""),
        pod_name=str(row.get("PodName") or ""),
        is_infra=bool(row.get("IsInfra")),
        is_past_init=is_past_init,
        project=str(next((labels[name] for name in _PROJECT_LABELS if name in labels), "")),
        monitor=monitor,
        control_group=_control_group(monitor) if monitor else "",
    )


def _parent(process: int) -> int:
    """Return the process that started another one, which for a container's first one is its conmon; 0 when it is
    gone."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def _control_group(process: int) -> str:
    try:
        with open(f"/proc/{process}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


def creation_commands(ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the command line that made each of those containers, by their ids."""
    details = _json("container", "inspect", *ids) if ids else []
    return {each["Id"]: tuple(each["Config"].get("CreateCommand") or ()) for each in details}


def _past_inits(rows: list[dict[str, Any]]) -> set[str]:
    """Return the ids of init containers that have done their work (podman-create(1), --init-ctr=always; one that runs
    once is removed). Neither ps nor inspect names them. The command that made one does; of what a file of Kubernetes
    made, the order tells: init containers end before the pod's others are started."""
    exited = [row for row in rows if row.get("Pod") and row.get("State") == "exited" and row.get("ExitCode") == 0]
    pods = {row["Pod"] for row in exited}
    others = [row for row in rows if row.get("Pod") in pods and row.get("State") == "running"]
    if not exited or not others:
        return set()
    from datetime import datetime

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


class ImageListing:
    """All images of the user at the time that this is made; podman is still at it while others are asked."""

    def __init__(self) -> None:
        self._command = _Command("images", "--no-trunc", "--format", "json")

    def read(self) -> dict[str, str]:
        """Return the id of each image by each of its names, digests included. A manifest list stands for its image for
        this machine, which is what a container of that name runs."""
        ids: dict[str, str] = {}
        lists = []
        for row in self._command.rows():
            names = [*(row.get("Names") or ()), *(row.get("RepoDigests") or ())]
            ids |= dict.fromkeys(names, row["Id"].removeprefix("sha256:"))
            if names and "History" not in row:  # one that may be a list; nothing else in this row tells
                lists.append(names)
        for names in lists:
            answer = _run("image", "inspect", "--format", "{{.Id}}", names[0])
            if not answer.status:
                ids |= dict.fromkeys(names, answer.output.strip().removeprefix("sha256:"))
        return ids


def images() -> dict[str, str]:
    """Return the id of each image by each of its names."""
    return ImageListing().read()


class Listing:
    """All that the user has at the time that this is made."""

    def __init__(self) -> None:
        self.time = time.time()
        """Unix time."""
        self.containers = ContainerListing()
        self.images = ImageListing()


def was_written(image: str, since: float) -> bool:
    """Return whether a build has made that image, or made it again of its cache, since that time (Unix time). Only the
    storage tells the latter: podman lists the image as it was, and its events may be in a journal that this user cannot
    read."""
    root = _storage()
    folders = [os.path.join(root, name, image) for name in os.listdir(root) if name.endswith("-images")]
    files = [os.path.join(each, name) for each in folders if os.path.isdir(each) for name in ("", *os.listdir(each))]
    return any(os.stat(file).st_mtime >= since for file in files)


@cache
def _storage() -> str:
    return _output("info", "--format", "{{.Store.GraphRoot}}").strip()


def has_image(image: str) -> bool:
    """Return True if there is an image of that id or name."""
    return _run("image", "exists", image).status == 0


def tag(image: str, name: str) -> None:
    """Give an image one more name, and take it from another image that has it."""
    _output("tag", image, name)


def remove_name(name: str) -> None:
    """Remove a name, and with an image's last name the image. Raises PodmanError while a container uses that."""
    _output("rmi", name)


def detail(container: str) -> dict[str, Any]:
    """Return all that podman knows of a container."""
    return dict(_json("container", "inspect", container)[0])


def details(ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return all that podman knows of containers and images, by their ids."""
    return {each["Id"]: each for each in _json("inspect", *ids)} if ids else {}


def history(image: Mapping[str, Any]) -> list[str]:
    """Return the instructions by which an image was made, newest first, as far as its details tell them."""
    return [str(step.get("created_by") or "") for step in reversed(image.get("History") or [])]


def secrets() -> dict[str, str]:
    """Return the id of each secret by its name: one that was replaced has another."""
    ids = _lines("secret", "ls", "--quiet")
    return {each["Spec"]["Name"]: each["ID"] for each in _json("secret", "inspect", *ids)} if ids else {}


def run_in(container: str, command: Sequence[str], timeout: float) -> tuple[int, str]:
    """Run a command in a container; return its exit status and what it printed."""
    answer = _run("exec", container, *command, timeout=timeout)
    return answer.status, answer.output + answer.errors


def _lines(*arguments: str) -> list[str]:
    return _output(*arguments).split()


def _json(*arguments: str) -> list[Any]:
    return _Command(*arguments).rows()


def _output(*arguments: str) -> str:
    return _Command(*arguments).output()


def _run(*arguments: str, timeout: float = _TIMEOUT) -> Answer:
    return _Command(*arguments).answer(timeout)
