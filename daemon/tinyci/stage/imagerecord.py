"""The record of a repo's images from job to job: the images before and after a build, and those of deploys that can be
gone back to."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tinyci.runtime.files import write_whole

MAX_JOBS = 50
"""Jobs that are listed for the same images, the newest ones."""
_KEYS = {
    "job": "job",
    "before": "images_before",
    "made": "images_after",
    "rolled_back": "is_rolled_back",
    "strays": "strays",
    "kept": "successes",
    "products": "products",
    "definition": "definition",
    "files": "files_before",
}
"""Attributes by their keys in the file. The keys never change: an upgrade reads the file of the version before."""


_FIRST_KEYS = ("job", "before", "made", "rolled_back", "strays", "kept")
"""Keys that the first version wants; the others are left out while they are empty."""


@dataclass
class DeployedImages:
    """Images that were deployed with success, oldest job first. No job: they ran before tinyci's first one."""

    jobs: list[str]
    images: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    """Files of the units then: text by absolute path."""

    def is_like(self, other: "DeployedImages") -> bool:
        """Return whether both are one version. What was recorded before files were is told by its images."""
        return self.images == other.images and (not self.files or not other.files or self.files == other.files)


@dataclass
class ImageRecord:
    """Images are ids by name: `localhost/web:latest` to 64 hexadecimal digits. Jobs are ids without dashes."""

    job: str = ""
    """The job of `images_before` and `images_after`."""
    images_before: dict[str, str] = field(default_factory=dict)
    """Images that the repo's containers ran when the job's build began; or, where none ran, at its last success."""
    images_after: dict[str, str] = field(default_factory=dict)
    """Images when the build had ended, of the names that the repo's units run."""
    files_before: dict[str, str] = field(default_factory=dict)
    """Files of the units when the build began: text by absolute path."""
    products: list[str] = field(default_factory=list)
    """Names of images that builds of the repo have made and its units run."""
    definition: str = ""
    """Hash of the units' files at the last success."""
    is_rolled_back: bool = False
    """The names stand for `images_before` again."""
    strays: dict[str, str] = field(default_factory=dict)
    """Of earlier versions, and kept for one that may be gone back to."""
    successes: list[DeployedImages] = field(default_factory=list)
    """Oldest first."""

    def begin(self, job: str, running: Mapping[str, str], files: Mapping[str, str]) -> None:
        """Begin a build. A build that a reboot cut off and that begins again has moved names by now: the images and
        files of its first beginning stay."""
        if job == self.job:
            self.is_rolled_back = False
            return
        last = self.successes[-1].images if self.successes else {}
        self.job, self.images_before, self.images_after, self.is_rolled_back = job, {**last, **running}, {}, False
        self.files_before = dict(files)

    def end(self, images: Mapping[str, str]) -> None:
        """End a build, given the images that the repo's units run next."""
        self.images_after = dict(images)

    @property
    def is_new(self) -> bool:
        """True if a unit is to run another image than before, or if none ran."""
        return not self.images_before or any(
            self.images_before.get(name) != image for name, image in self.images_after.items()
        )

    def note_builds(self, names: Iterable[str]) -> None:
        """Note that a build has made the images of those names."""
        self.products = sorted({*self.products, *names})

    @property
    def expected_images(self) -> Mapping[str, str]:
        """The images that containers have to run now, by name, as far as the record tells."""
        return self.images_before if self.is_rolled_back else self.images_after

    @property
    def moved_images(self) -> Mapping[str, tuple[str, str]]:
        """The images before and after the build, of the names that stand for others now."""
        return {name: (self.images_before.get(name, ""), image) for name, image in self.images_after.items()}

    def roll_back(self) -> None:
        """Note that the names stand for `images_before` again. A success whose units fell over after it is none."""
        self.is_rolled_back = True
        for success in self.successes:
            success.jobs = [job for job in success.jobs if job != self.job]
        self.successes = [each for each in self.successes if each.jobs or each.images == self.images_before]

    def add_success(self, job: str, images: Mapping[str, str], files: Mapping[str, str], limit: int) -> None:
        """Note that the job was deployed and its containers run those images. Keep the newest `limit` successes."""
        now = DeployedImages([], dict(images), dict(files))
        jobs = [each for success in self.successes if success.is_like(now) for each in success.jobs if each != job]
        before = DeployedImages([], self.images_before, self.files_before)
        if self.images_before and not any(success.is_like(before) for success in self.successes):
            self.successes.append(before)
        self.successes = [success for success in self.successes if not success.is_like(now)]
        self.successes.append(replace(now, jobs=[*jobs, job][-MAX_JOBS:]))
        self.successes = self.successes[-limit:]

    def success_of(self, job: str) -> DeployedImages | None:
        """Return what a job deployed; None when it is not kept."""
        return next((success for success in self.successes if job in success.jobs), None)

    def images_in_use(self) -> set[str]:
        """Return the ids of the images that must stay."""
        groups = [self.images_before, *(success.images for success in self.successes)]
        return {image for images in groups for image in images.values()}

    # -- its file ----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: Path) -> "ImageRecord":
        """Return the record in a file; an empty one without a file. Raises ValueError for another content, or
        OSError."""
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return cls()
        try:
            values = json.loads(text)
            successes = [
                DeployedImages(list(each["jobs"]), dict(each["images"]), dict(each.get("files") or {}))
                for each in values.pop("kept")
            ]
            record = cls(**{_KEYS[key]: value for key, value in values.items()}, successes=successes)
            groups = [
                record.images_before,
                record.images_after,
                record.files_before,
                *(each.files for each in successes),
                *(each.images for each in successes),
            ]
            for images in groups:
                "".join((*images.keys(), *images.values()))
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ValueError(f"{path} is no record of tinyci's: remove it; what it remembers is forgotten") from None
        return record

    def save(self, path: Path) -> None:
        """Replace the file. Raises OSError."""
        attributes = asdict(self)
        values = {key: attributes[attribute] for key, attribute in _KEYS.items()}
        values = {key: value for key, value in values.items() if value or key in _FIRST_KEYS}
        for success in values["kept"]:
            if not success["files"]:
                del success["files"]
        write_whole(path, json.dumps(values, indent=1))
