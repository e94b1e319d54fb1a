"""The record of a repo's images from job to job: the images before and after a build, and those of deploys that can be
gone back to."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
}
"""Attributes by their keys in the file. The keys never change: an upgrade reads the file of the version before."""


@dataclass
class DeployedImages:
    """Images that were deployed with success, oldest job first. No job: they ran before tinyci's first one."""

    jobs: list[str]
    images: dict[str, str]


@dataclass
class ImageRecord:
    """Images are ids by name: `localhost/web:latest` to 64 hexadecimal digits. Jobs are ids without dashes."""

    job: str = ""
    """The job of `images_before` and `images_after`."""
    images_before: dict[str, str] = field(default_factory=dict)
    """Images that the repo's containers ran when the job's build began; or, where none ran, at its last success."""
    images_after: dict[str, str] = field(default_factory=dict)
    """Images when the build had ended, of the names that it changed and those of `images_before`."""
    is_rolled_back: bool = False
    """The names stand for `images_before` again."""
    strays: dict[str, str] = field(default_factory=dict)
    """Images that builds have named and no unit runs, while no unit got a new image."""
    successes: list[DeployedImages] = field(default_factory=list)
    """Oldest first."""

    def begin(self, job: str, running: Mapping[str, str]) -> None:
        """Begin a build. A build that a reboot cut off and that begins again has moved names by now: the images of
        its first beginning stay."""
        if job == self.job:
            self.is_rolled_back = False
            return
        last = self.successes[-1].images if self.successes else {}
        self.job, self.images_before, self.images_after, self.is_rolled_back = job, {**last, **running}, {}, False

    def end(self, names_before: Mapping[str, str], names: Mapping[str, str]) -> bool:
        """End a build, given the image of each name when it began, and now. Return True if any image that the repo's
        containers run is a new one, or if none ran."""
        self.images_after = {name: image for name, image in names.items() if names_before.get(name) != image}
        self.images_after |= {name: names[name] for name in self.images_before if name in names}
        is_new = not self.images_before or any(names.get(name) != image for name, image in self.images_before.items())
        ids_before = set(self.images_before.values())
        self.strays = {
            name: image
            for name, image in names.items()
            if not is_new and image not in ids_before and (name not in names_before or name in self.strays)
        }
        return is_new

    def expected_image(self, name: str) -> str:
        """Return the image that a container of that name has to run now; empty when the record does not tell."""
        return (self.images_before if self.is_rolled_back else self.images_after).get(name, "")

    def roll_back(self) -> None:
        """Note that the names stand for `images_before` again. A success whose units fell over after it is none."""
        self.is_rolled_back = True
        for success in self.successes:
            success.jobs = [job for job in success.jobs if job != self.job]
        self.successes = [each for each in self.successes if each.jobs or each.images == self.images_before]

    def add_success(self, job: str, images: Mapping[str, str], limit: int) -> None:
        """Note that the job was deployed and its containers run those images. Keep the newest `limit` successes."""
        jobs = [each for success in self.successes if success.images == images for each in success.jobs if each != job]
        if self.images_before and self.images_before not in [success.images for success in self.successes]:
            self.successes.append(DeployedImages([], self.images_before))
        self.successes = [success for success in self.successes if success.images != images]
        self.successes.append(DeployedImages([*jobs, job][-MAX_JOBS:], dict(images)))
        self.successes = self.successes[-limit:]

    def images_of(self, job: str) -> dict[str, str]:
        """Return the images that a job deployed; empty when they are not kept."""
        return next((success.images for success in self.successes if job in success.jobs), {})

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
            successes = [DeployedImages(list(each["jobs"]), dict(each["images"])) for each in values.pop("kept")]
            record = cls(**{_KEYS[key]: value for key, value in values.items()}, successes=successes)
            groups = [record.images_before, record.images_after, record.strays, *(each.images for each in successes)]
            for images in groups:
                "".join((*images.keys(), *images.values()))
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ValueError(f"{path} is no record of tinyci's: remove it; what it remembers is forgotten") from None
        return record

    def save(self, path: Path) -> None:
        """Replace the file. Raises OSError."""
        attributes = asdict(self)
        values = {key: attributes[attribute] for key, attribute in _KEYS.items()}
        write_whole(path, json.dumps(values, indent=1))
