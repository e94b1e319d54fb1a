"""The images of a repo: what ran before a build, what its units run next, what a deploy can go back to.

An image that may be needed again gets a name of tinyci's own, `localhost/tinyci:REPO.ID`, so that `podman image prune`
leaves it alone. Everything else is in a file of the user's, STATE_DIRECTORY/REPO.json (imagerecord.py).
"""

import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict
from tinyci.runtime.files import write_whole
from tinyci.stage import judgement, podman, surroundings, units
from tinyci.stage.imagerecord import ImageRecord
from tinyci.stage.judgement import Next, Situation
from tinyci.stage.ownership import UnitContainer, containers_of
from tinyci.stage.podman import Container, PodmanError
from tinyci.stage.status import StageError
from tinyci.stage.units import Unit

NAME = "localhost/tinyci"
"""Name of the images that tinyci keeps; the tag is REPO.ID."""
_PUT_BACK_ATTEMPTS = 3
"""systemd, stopping a build, signals what the build starts in that moment as well."""
START_PATIENCE = 10.0
"""Seconds that a unit which is up may be without the container that it starts."""
_INTERVAL = 0.5
"""Seconds from one look for it to the next: podman tells a user of the system's range of no event."""


class BuildResult(NamedTuple):
    """The judgement on a build that its units may follow."""

    no_change: str = ""
    """The reason why a restart would change nothing; empty when it would."""
    remark: str = ""


class Images:
    """The images of one repo. All methods raise PodmanError and StageError, or OSError for the file."""

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
        self._containers_before: list[UnitContainer] = []
        self._begin = 0.0
        """When the build began, Unix time."""
        self._units: list[Unit] = []
        self._containers: list[Container] = []
        self._names_now: dict[str, str] = {}
        """As the last check found them."""

    # -- around a build ----------------------------------------------------------------------------------------

    def remember(self, job: str, before: podman.Listing) -> None:
        """Record the images that run before the build of that job (its id without dashes), and keep them from being
        pruned. `before`: made when the build began."""
        self._begin = before.time
        repo_units = units.read(self._repo.units)
        self._containers_before = containers_of_units(repo_units, before.containers.read())
        running = {
            each.container.image_name: each.container.image
            for each in self._containers_before
            if each.container.is_running or each.container.is_past_init
        }
        self._names_before = before.images.read()
        self._record.begin(job, running, units.texts(repo_units))
        self._record.save(self._file)
        self._mark(self._record.images_before.values(), self._names_before)

    def judge_build(self) -> BuildResult:
        """Record the images after the build, and judge it by what the repo's units run next. Raises StageError when
        they cannot run what the build made."""
        images = podman.ImageListing()
        repo_units = units.read_reloaded(self._repo.units)
        names = images.read()
        nexts = judgement.next_images(repo_units, names, self._containers_before, self._record.images_before)
        ids = {name: names[name] for name in nexts.names}
        self._record.end(ids)
        judgement.refuse_missing(nexts, self._names_before, names, self._is_ours)
        is_new = self._record.is_new or units.fingerprint(repo_units) != self._record.definition or nexts.has_unknown
        containers = self._containers_before
        if not is_new or not judgement.is_known(repo_units, containers):  # what is asked twice costs twice
            repo_units, containers = self._look(repo_units, podman.ContainerListing())
        situation = Situation(repo_units, ids, containers)
        judgement.refuse_stale(situation, names)
        if not is_new:
            self._refuse_strays(nexts, names, ids)
            details = podman.details([each.container.id for each in containers if each.container.is_running])
            is_new = any(surroundings.is_changed(detail, self._begin) for detail in details.values())
        self._record.note_builds(name for name, image in ids.items() if self._names_before.get(name) != image)
        self._record.save(self._file)
        title = ", ".join(self._repo.units)
        is_needed = is_new or not situation.is_running_all or self._repo.restart == "always"
        if is_needed:
            is_same = ids and not self._record.is_new
            return BuildResult(
                remark=f"the build made no new image, so {title} runs the one that ran before" if is_same else ""
            )
        new_names = sorted(name for name, image in names.items() if self._names_before.get(name) != image)
        new_names = [name for name in new_names if not self._is_ours(name) and name not in ids and "@" not in name]
        also = f"; it made {', '.join(new_names[:3])}, which none of them runs" if new_names else ""
        return BuildResult(no_change=f"the build made nothing new for {title}, which runs on as it was{also}")

    def _refuse_strays(self, nexts: Next, names: Mapping[str, str], ids: Mapping[str, str]) -> None:
        """Raise StageError for a build that made an image under another name than that which it made before."""
        built_before = [name for name in ids if name in self._record.products]
        if not built_before or any(self._was_built(name, ids[name]) for name in ids):
            return
        strays = [
            name
            for name, image in names.items()
            if name.startswith("localhost/")
            and "@" not in name
            and not self._is_ours(name)
            and image not in ids.values()
            and podman.was_written(image, self._begin)
        ]
        if strays:
            raise StageError(judgement.stray_reason(strays, built_before, nexts.title(built_before)))

    def _was_built(self, name: str, image: str) -> bool:
        return bool(image) and (self._names_before.get(name) != image or podman.was_written(image, self._begin))

    def put_back(self) -> None:
        """Undo what a build did that is not deployed: names of images stand for what runs, files of units are as they
        were. Does what can be done."""
        for attempt in range(1, _PUT_BACK_ATTEMPTS + 1):
            try:
                self._put_back()
                return
            except (PodmanError, StageError, OSError) as error:
                if attempt == _PUT_BACK_ATTEMPTS:
                    print(f"tinyci: what the build changed could not be put back: {error}", flush=True)

    def _put_back(self) -> None:
        names = podman.images()
        for name, image in self._record.images_before.items():
            if "@" in name or image.startswith(name):  # it cannot stand for another image
                continue
            if names.get(name) != image and podman.has_image(image):
                podman.tag(image, name)
        self._restore_files(self._record.files_before)
        self._record.roll_back()
        self._record.save(self._file)

    def restore_job(self, job: str) -> None:
        """Give the images that a job (its id) deployed their names again, instead of a build."""
        success = self._record.success_of(job.replace("-", ""))
        if not success:
            raise StageError(
                f"the images of job {job} are not kept any more: {self._repo.keep_images} are (keep_images)"
            )
        self._retag(success.images, "of that job")
        self._restore_files(success.files)

    # -- around a rollback -------------------------------------------------------------------------------------

    def restore_previous(self, job: str) -> None:
        """Give the images that ran before the job's build their names again, and the units their files."""
        if self._record.job != job or not self._record.images_before:
            raise StageError("no container of these units ran before", Verdict.NOTHING)
        repo_units = units.read(self._repo.units)
        if builder := next((name for unit in repo_units for name in unit.builders), ""):
            text = f"{builder} builds the image anew at each start: push the version before again"
            raise StageError(text, Verdict.NOTHING)
        self._retag(self._record.images_before, "that ran before")
        self._restore_files(self._record.files_before)
        self._record.roll_back()
        self._record.save(self._file)

    def _retag(self, images: dict[str, str], which: str) -> None:
        for name, image in images.items():
            if not podman.has_image(image):
                raise StageError(f"image {image[:12]} {which} as {name} is gone: was it removed by hand?")
        names = podman.images()
        for name, image in images.items():
            if "@" not in name and names.get(name) != image and not image.startswith(name):
                podman.tag(image, name)

    def _restore_files(self, texts: Mapping[str, str]) -> None:
        """Write files of units as they were, where they are otherwise now, and have the manager read them."""
        paths = [path for path, text in texts.items() if units.text(path) != text]
        for path in paths:
            print(f"tinyci: {path} is as it was before", flush=True)
            target = Path(os.path.realpath(path))
            mode = target.stat().st_mode if target.exists() else 0o644
            write_whole(target, texts[path])
            target.chmod(mode & 0o777)
        if paths:
            units.reload()

    # -- around a verification ---------------------------------------------------------------------------------

    def check(self, patience: float = START_PATIENCE) -> list[UnitContainer]:
        """Return the containers of the repo's units. Raises StageError for one that does not run, or runs another
        image than it should, and for a unit of which that cannot be known for so many seconds."""
        now = podman.Listing()
        self._units, mine = self._look(units.read(self._repo.units), now.containers, patience)
        self._names_now = now.images.read()
        goals = {} if any(unit.builders for unit in self._units) else self._record.expected_images
        judgement.verify(mine, self._names_now, goals)
        judgement.verify_known(self._units, mine, self._containers, self._record.moved_images)
        return mine

    def is_as_before(self) -> bool:
        """Return whether units and containers are those of the last check, in the state that they were in."""
        listing = podman.ContainerListing()
        is_same = units.read(self._repo.units) == self._units
        now, before = ([each._replace(health="") for each in some] for some in (listing.read(), self._containers))
        return is_same and now == before

    def keep(self, containers: Iterable[Container]) -> None:
        """Keep the images of the containers, as check() has found all, from being pruned."""
        images = {container.image for container in containers}
        self._mark(images, self._names_now)
        self._names_now |= {self._own_name(image): image for image in images}

    def record_success(self, job: str, containers: Iterable[Container]) -> None:
        """Keep the images of the containers, as check() has found all, unless the job was rolled back to them, and
        remove names that are not needed any more."""
        images = {container.image_name: container.image for container in containers}
        self._record.definition = units.fingerprint(self._units)
        if images and not self._record.is_rolled_back:
            self._record.add_success(job, images, units.texts(self._units), self._repo.keep_images)
        self._record.save(self._file)
        self._mark(images.values(), self._names_now)
        self._tidy(self._names_now)

    def _look(
        self, repo_units: list[Unit], listing: podman.ContainerListing, patience: float = START_PATIENCE
    ) -> tuple[list[Unit], list[UnitContainer]]:
        """Return the units, and their containers. A unit that was started a moment ago has none yet."""
        end = time.monotonic() + patience
        while True:
            self._containers = listing.read()
            mine = containers_of_units(repo_units, self._containers)
            if not judgement.unknown_units(repo_units, mine) or time.monotonic() >= end:
                return repo_units, mine
            time.sleep(_INTERVAL)
            listing = podman.ContainerListing()
            repo_units = units.read(self._repo.units)

    # -- names -------------------------------------------------------------------------------------------------

    def _mark(self, images: Iterable[str], names: Mapping[str, str]) -> None:
        """Give images names of ours, so that no prune removes them. `names` has all names that there are."""
        ids = set(names.values())
        for image in set(images):
            name = self._own_name(image)
            if image and name not in names and (image in ids or podman.has_image(image)):
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

    def _is_ours(self, name: str) -> bool:
        return name.startswith((f"{NAME}:", f"{NAME}@"))


def containers_of_units(repo_units: list[Unit], containers: list[Container]) -> list[UnitContainer]:
    """Return the containers of units. Where only the command that made a container can tell, podman is asked for it."""
    mine = containers_of(repo_units, containers, {unit.name: units.pod_names(unit) for unit in repo_units})
    owners = {each.unit.name for each in mine}
    open_units = [unit for unit in repo_units if unit.is_up and unit.name not in owners and unit.runs_podman]
    if not open_units:
        return mine
    own_ids = {each.container.id for each in mine}
    rest = {each.id: each for each in containers if each.is_running and each.id not in own_ids and not each.label}
    origins = podman.creation_commands(rest.keys())
    for unit in open_units:
        lines = {words[1:] for words in unit.exec_start}
        mine += [UnitContainer(rest[key], unit) for key, words in origins.items() if words[1:] in lines]
    return mine
