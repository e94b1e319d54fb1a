"""The images of a repo: what ran before a build, what it made, what a deploy can go back to.

An image that may be wanted again has a name of tinyci's own, `localhost/tinyci:REPO.ID`, so that `podman image prune`
leaves it alone. Everything else is in a file of the user's, STATE_DIRECTORY/REPO.json.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict
from tinyci.stage import podman
from tinyci.stage.order import StageError
from tinyci.stage.podman import Container, PodmanError
from tinyci.stage.record import Record

NAME = "localhost/tinyci"


class Images:
    """Those of one repo. All methods raise PodmanError, or OSError for the file."""

    def __init__(self, repo: Repo) -> None:
        directory = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if not directory:
            raise StageError("STATE_DIRECTORY is not set: run this as a unit of tinyci's")
        self._repo = repo
        self._file = Path(directory) / f"{repo.name}.json"
        try:
            self._record = Record.load(self._file)
        except ValueError as error:
            raise StageError(str(error)) from None
        self._names: dict[str, str] = {}

    # -- around a build ----------------------------------------------------------------------------------------

    def remember(self, job: str) -> None:
        """Before the build of that job (its id without dashes): what runs, kept from being pruned."""
        running = {each.image_name: each.image for each in podman.containers(self._repo.units) if each.running}
        self._names = podman.images()
        self._record.begin(job, running)
        self._record.save(self._file)
        self._mark(self._record.before.values(), self._names)

    def judge_build(self) -> str:
        """After the build: a remark for the person who pushed, or empty. Raises Refused when the build made images,
        and none that the repo's units run."""
        names = podman.images()
        is_new = self._record.built(*(_without_ours(each) for each in (self._names, names)))
        self._record.save(self._file)
        self._mark((self._record.made[name] for name in self._record.before if name in self._record.made), names)
        wanted, units = ", ".join(self._record.before), ", ".join(self._repo.units)
        if self._record.strays:
            raise StageError(
                f"the build made {', '.join(sorted(self._record.strays)[:5])}, and no new {wanted}, which {units} "
                f"runs: build it with that name (podman build --tag)"
            )
        return "" if is_new else f"the build made no new image, so {units} runs the one that ran before"

    def go_back_to(self, job: str) -> None:
        """Instead of a build: the images that a kept job (its id) deployed."""
        images = self._record.images_of(job.replace("-", ""))
        if not images:
            raise StageError(
                f"the images of job {job} are not kept any more: {self._repo.keep_images} are (keep_images)"
            )
        self._retag(images, "of that job")

    # -- around a rollback -------------------------------------------------------------------------------------

    def restore(self, job: str) -> None:
        """The names stand for what ran before the job's build again."""
        if self._record.job != job or not self._record.before:
            raise StageError("no container of these units ran before", Verdict.NOTHING)
        self._retag(self._record.before, "that ran before")
        self._record.went_back()
        self._record.save(self._file)

    def _retag(self, images: dict[str, str], which: str) -> None:
        for name, image in images.items():
            if not podman.has_image(image):
                raise StageError(f"image {image[:12]} {which} as {name} is gone: was it removed by hand?")
        for name, image in images.items():
            podman.tag(image, name)

    # -- around a verification ---------------------------------------------------------------------------------

    def check(self) -> list[Container]:
        """The containers of the repo's units, each of which runs what it should. Raises Refused when one does not."""
        found, names = podman.containers(self._repo.units), podman.images()
        for each in found:
            _check(each, names.get(each.image_name, ""), self._record.expected(each.image_name))
        return found

    def verified(self, job: str, found: Iterable[Container]) -> None:
        """All is as it should be: keep these images, unless they are those of before, and drop what is not needed."""
        images = {each.image_name: each.image for each in found}
        if images and not self._record.rolled_back:
            self._record.succeeded(job, images, self._repo.keep_images)
            self._record.save(self._file)
        names = podman.images()
        self._mark(images.values(), names)
        self._tidy(names)

    def _mark(self, images: Iterable[str], names: Mapping[str, str]) -> None:
        """Give images names of ours, so that no prune takes them. `names`: those that there are."""
        there = set(names.values())
        for image in set(images):
            ours = f"{NAME}:{self._repo.name}.{image[:16]}"
            if ours not in names and (image in there or podman.has_image(image)):
                podman.tag(image, ours)

    def _tidy(self, names: Iterable[str]) -> None:
        wanted = {f"{NAME}:{self._repo.name}.{image[:16]}" for image in self._record.in_use()}
        ours = re.compile(re.escape(f"{NAME}:{self._repo.name}.") + "[0-9a-f]{16}", re.ASCII)
        for name in names:
            if ours.fullmatch(name) and name not in wanted:
                try:
                    podman.remove(name)
                except PodmanError as error:  # a container uses it yet: next time
                    print(f"tinyci: {name} stays: {error}", flush=True)


def _check(container: Container, image: str, expected: str) -> None:
    """`image`: what the container's image name stands for now. `expected`: what it has to, if that is known."""
    who, name = f"container {container.name} of {container.unit}", container.image_name
    if not container.running:
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


def _without_ours(names: dict[str, str]) -> dict[str, str]:
    return {name: image for name, image in names.items() if not name.startswith(f"{NAME}:")}
