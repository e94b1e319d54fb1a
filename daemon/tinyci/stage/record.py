"""What is remembered of a repo's images from job to job: what ran, what was built, what can be gone back to."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

JOBS_PER_KEPT = 50


@dataclass
class DeployedImages:
    """Images that were deployed with success, oldest job first. No job: they ran before tinyci's first one."""

    jobs: list[str]
    images: dict[str, str]


@dataclass
class Record:
    """Images are ids by name: `localhost/web:latest` to 64 hexadecimal digits. Jobs are ids without dashes."""

    job: str = ""
    """The job that `before` and `made` are of."""
    before: dict[str, str] = field(default_factory=dict)
    """What the repo's containers ran when the job's build began; or, where none ran, at its last success."""
    made: dict[str, str] = field(default_factory=dict)
    """What the names stood for when the build had ended: those that it changed, and those of `before`."""
    rolled_back: bool = False
    """The names stand for `before` again."""
    strays: dict[str, str] = field(default_factory=dict)
    """What builds have named that no unit runs, while no unit got a new image."""
    kept: list[DeployedImages] = field(default_factory=list)
    """Oldest success first."""

    def begin(self, job: str, running: Mapping[str, str]) -> None:
        """A build begins. One that a reboot cut off and that begins again has moved names by now: what it remembered
        at first stays."""
        if job == self.job:
            self.rolled_back = False
            return
        last = self.kept[-1].images if self.kept else {}
        self.job, self.before, self.made, self.rolled_back = job, {**last, **running}, {}, False

    def built(self, names_before: Mapping[str, str], names: Mapping[str, str]) -> bool:
        """A build has ended; what images the names stood for then, and do now. Returns whether any image that the
        repo's containers run is a new one (true when none ran)."""
        self.made = {name: image for name, image in names.items() if names_before.get(name) != image}
        self.made |= {name: names[name] for name in self.before if name in names}
        is_new = not self.before or any(names.get(name) != image for name, image in self.before.items())
        ran = set(self.before.values())
        self.strays = {
            name: image
            for name, image in names.items()
            if not is_new and image not in ran and (name not in names_before or name in self.strays)
        }
        return is_new

    def expected(self, name: str) -> str:
        """The image that a container of that name has to run now, empty when that is not known."""
        return (self.before if self.rolled_back else self.made).get(name, "")

    def went_back(self) -> None:
        """The names stand for `before` again. A success is none if its units fell over right after it."""
        self.rolled_back = True
        for kept in self.kept:
            kept.jobs = [job for job in kept.jobs if job != self.job]
        self.kept = [kept for kept in self.kept if kept.jobs or kept.images == self.before]

    def succeeded(self, job: str, images: Mapping[str, str], most: int) -> None:
        """The job was deployed with success and its containers run those images; so many are kept."""
        jobs = [each for kept in self.kept if kept.images == images for each in kept.jobs if each != job]
        if self.before and self.before not in [kept.images for kept in self.kept]:
            self.kept.append(DeployedImages([], self.before))
        self.kept = [kept for kept in self.kept if kept.images != images]
        self.kept.append(DeployedImages([*jobs, job][-JOBS_PER_KEPT:], dict(images)))
        self.kept = self.kept[-most:]

    def images_of(self, job: str) -> dict[str, str]:
        """What a kept job deployed; empty when it is not kept."""
        return next((kept.images for kept in self.kept if job in kept.jobs), {})

    def in_use(self) -> set[str]:
        """Ids of the images that must stay."""
        return {image for kept in (*self.kept, DeployedImages([], self.before)) for image in kept.images.values()}

    # -- its file ----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: Path) -> "Record":
        """The record in a file; an empty one when there is none. Raises ValueError for what is none, or OSError."""
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return cls()
        try:
            values = json.loads(text)
            kept = [DeployedImages(list(each["jobs"]), dict(each["images"])) for each in values.pop("kept")]
            record = cls(**values, kept=kept)
            for images in (record.before, record.made, record.strays, *(kept.images for kept in record.kept)):
                "".join((*images.keys(), *images.values()))
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ValueError(f"{path} is no record of tinyci's: remove it; what it remembers is forgotten") from None
        return record

    def save(self, path: Path) -> None:
        """Whole or not at all, also when the power goes."""
        new = path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
