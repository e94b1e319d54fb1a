"""The images of a repo: those that ran before a build, those that it made, those that a deploy can go back to.

An image that may be needed again gets a name of tinyci's own, `localhost/tinyci:REPO.ID`, so that `podman image prune`
leaves it alone. Everything else is in a file of the user's, STATE_DIRECTORY/REPO.json (imagerecord.py).
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict
from tinyci.stage import podman
from tinyci.stage.imagerecord import ImageRecord
from tinyci.stage.podman import Container, PodmanError
from tinyci.stage.status import StageError

NAME = "localhost/tinyci"
"""Name of the images that tinyci keeps; the tag is REPO.ID."""


class Images:
    """The images of one repo. All methods raise PodmanError, or OSError for the file."""

    def __init__(self, repo: Repo) -> None:
        directory = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if not directory:
            raise StageError("STATE_DIRECTORY is not set: run this as a unit of tinyci's")
        self._repo = repo
        self._file = Path(directory) / f"{repo.name}.json"
        try:
            self._record = ImageRecord.load(self._file)
        except ValueError as error:
            raise StageError(str(error)) from None
        self._names_before: dict[str, str] = {}
        """The image of each name when the build began."""

    # -- around a build ----------------------------------------------------------------------------------------

    def remember(self, job: str) -> None:
        """Record the images that run before the build of that job (its id without dashes), and keep them from being
        pruned."""
        containers = podman.containers(self._repo.units)
        running = {container.image_name: container.image for container in containers if container.is_well}
        self._names_before = podman.images()
        self._record.begin(job, running)
        self._record.save(self._file)
        self._mark(self._record.images_before.values(), self._names_before)

    def judge_build(self) -> str:
        """Record the images after the build. Return a remark for the person who pushed, or an empty string. Raises
        StageError when the build made images, and none that the repo's units run."""
        names = podman.images()
        is_new = self._record.end(_without_ours(self._names_before), _without_ours(names))
        self._record.save(self._file)
        before, after = self._record.images_before, self._record.images_after
        self._mark((after[name] for name in before if name in after), names)
        units = ", ".join(self._repo.units)
        if self._record.strays:
            raise StageError(
                f"the build made {', '.join(sorted(self._record.strays)[:5])}, and no new {', '.join(before)}, "
                f"which {units} runs: build it with that name (podman build --tag)"
            )
        return "" if is_new else f"the build made no new image, so {units} runs the one that ran before"

    def restore_job(self, job: str) -> None:
        """Give the images that a job (its id) deployed their names again, instead of a build."""
        images = self._record.images_of(job.replace("-", ""))
        if not images:
            raise StageError(
                f"the images of job {job} are not kept any more: {self._repo.keep_images} are (keep_images)"
            )
        self._retag(images, "of that job")

    # -- around a rollback -------------------------------------------------------------------------------------

    def restore_previous(self, job: str) -> None:
        """Give the images that ran before the job's build their names again."""
        if self._record.job != job or not self._record.images_before:
            raise StageError("no container of these units ran before", Verdict.NOTHING)
        self._retag(self._record.images_before, "that ran before")
        self._record.roll_back()
        self._record.save(self._file)

    def _retag(self, images: dict[str, str], which: str) -> None:
        for name, image in images.items():
            if not podman.has_image(image):
                raise StageError(f"image {image[:12]} {which} as {name} is gone: was it removed by hand?")
        for name, image in images.items():
            podman.tag(image, name)

    # -- around a verification ---------------------------------------------------------------------------------

    def check(self) -> list[Container]:
        """Return the containers of the repo's units. Raises StageError for one that does not run, or runs another
        image than it should."""
        containers, names = podman.containers(self._repo.units), podman.images()
        for container in containers:
            name = container.image_name
            _check(container, names.get(name, ""), self._record.expected_image(name))
        return containers

    def record_success(self, job: str, containers: Iterable[Container]) -> None:
        """Keep the images of the containers, unless the job was rolled back to them, and remove names that are not
        needed any more."""
        images = {container.image_name: container.image for container in containers}
        if images and not self._record.is_rolled_back:
            self._record.add_success(job, images, self._repo.keep_images)
            self._record.save(self._file)
        names = podman.images()
        self._mark(images.values(), names)
        self._tidy(names)

    def _mark(self, images: Iterable[str], names: Mapping[str, str]) -> None:
        """Give images names of ours, so that no prune removes them. `names` has all names that there are."""
        ids = set(names.values())
        for image in set(images):
            name = self._own_name(image)
            if name not in names and (image in ids or podman.has_image(image)):
                podman.tag(image, name)

    def _tidy(self, names: Iterable[str]) -> None:
        """Remove our names of images that are not in use any more."""
        names_in_use = {self._own_name(image) for image in self._record.images_in_use()}
        pattern = re.compile(re.escape(self._own_name("")) + "[0-9a-f]{16}", re.ASCII)
        for name in names:
            if pattern.fullmatch(name) and name not in names_in_use:
                try:
                    podman.remove_name(name)
                except PodmanError as error:  # a container uses it yet: next time
                    print(f"tinyci: {name} stays: {error}", flush=True)

    def _own_name(self, image: str) -> str:
        return f"{NAME}:{self._repo.name}.{image[:16]}"


def _check(container: Container, image: str, expected: str) -> None:
    """Raise StageError unless the container runs `image`, which its image name stands for now, and that is the
    `expected` one. Both are empty when there is none."""
    who, name = f"container {container.name} of {container.unit}", container.image_name
    if not container.is_well:
        raise StageError(f"{who} does not run")
    if not image and container.image != name:
        raise StageError(f"{who} runs image {container.image[:12]}, and no image is called {name} any more")
    if expected and image != expected:
        raise StageError(
            f"{name} is image {image[:12]} now, and was {expected[:12]} when it was built: "
            "somebody gave the name away since (podman auto-update rolls back so)"
        )
    if image and container.image != image:
        raise StageError(
            f"{who} runs image {container.image[:12]}, while {name} is {image[:12]}: its unit starts an old container "
            "again; let it make a new one (a Quadlet, or podman generate systemd --new)"
        )


def _without_ours(names: Mapping[str, str]) -> dict[str, str]:
    return {name: image for name, image in names.items() if not name.startswith(f"{NAME}:")}
