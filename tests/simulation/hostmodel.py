"""The simulated host, which outlives the daemon: managers, images, what ran and what runs; and what is wrong there."""

import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fakeredis import FakeRedis
from servicemanager import EPOCH, STAGE, ServiceManager, Unit
from tinyci.model.job import TIP
from tinyci.model.repo import Repo
from virtualloop import VirtualLoop


@dataclass(eq=False)
class Run:
    """One run of a stage."""

    stage: str
    job: str
    repo: str
    revision: str
    """What was checked out."""
    tip: str
    """The ref that it was to look up for that, or empty."""
    user: str
    attempt: int
    invocation: str
    began: float
    ended: float = -1.0
    how: str = ""
    """As in servicemanager.ENDS, `stopped` or `cut off`; empty while it runs."""


@dataclass(eq=False)
class Span:
    """A time in which an app ran, with the image that it was started from."""

    image: str
    began: float
    up: float = -1.0
    down: float = -1.0

    @property
    def is_up(self) -> bool:
        return self.up >= 0 > self.down


@dataclass(eq=False)
class Images:
    """Those of one repo of one user, as tinyci.stage.imagerecord.ImageRecord has them: each is the revision it was built from."""

    named: str = ""
    """What the repo's image name stands for now."""
    job: str = ""
    before: str = ""
    """What ran before the build of that job began; or, when nothing did, what was verified last."""
    verified: str = ""


@dataclass(eq=False)
class HostModel:
    loop: VirtualLoop
    directory: Path
    users: tuple[str, ...]
    repos: dict[str, Repo]
    """Every repo that there ever is, as it was first."""
    pace: Iterable[int]
    """Turns that each message takes, one after the other, again and again."""
    wrong: list[str] = field(default_factory=list)
    """What should never have happened."""

    def __post_init__(self) -> None:
        self.memory = FakeRedis(self.time)
        self.managers = {user: ServiceManager(self, user) for user in self.users}
        self.runs: list[Run] = []
        self.spans: dict[tuple[str, str], list[Span]] = {}
        self.images: defaultdict[tuple[str, str], Images] = defaultdict(Images)
        self.plans: dict[str, str] = {}
        """How the next start of an app goes, if not well."""
        self.tips: dict[tuple[str, str], str] = {}
        """What each ref of a repository is at."""
        self.pushed: list[str] = []
        """Every job in push order."""
        self._turns = itertools.cycle(self.pace)
        self._ticks = itertools.count()
        self._numbers = itertools.count(1)
        for each in ("run/jobs", "spool"):
            (self.directory / each).mkdir(parents=True)

    # -- time and chance ---------------------------------------------------------------------------------------

    def time(self) -> float:
        """The clock on the wall; no two looks at it show the same time."""
        return EPOCH + self.loop.time() + next(self._ticks) / 1e6

    def number(self) -> int:
        return next(self._turns)

    def later(self, act: Callable[[], None], seconds: float = 0.0) -> None:
        def hop(left: int) -> None:
            if left:
                self.loop.call_soon(hop, left - 1)
            else:
                act()

        self.loop.call_later(seconds, hop, self.number()) if seconds else self.loop.call_soon(hop, self.number())

    def new_hex(self) -> str:
        return f"{next(self._numbers):032x}"

    # -- what the managers say ---------------------------------------------------------------------------------

    def apps(self) -> list[str]:
        return [unit for repo in self.repos.values() for unit in repo.units]

    def plan(self, app: str) -> str:
        return self.plans.pop(app, "well")

    def began(self, unit: str, user: str, invocation: str) -> Run:
        """A stage begins: it reads its job file."""
        stage, job_hex = STAGE.fullmatch(unit).groups()  # type: ignore[union-attr]
        try:
            given = json.loads((self.directory / "run" / "jobs" / f"{job_hex}.json").read_text())
        except FileNotFoundError:
            given = {"id": "", "repo": "", "ref": "", "revision": ""}
            self.wrong.append(f"{unit} began without its job file")
        stored = self.memory.hashes.get(given["id"], {})
        tip = given["ref"] if given["revision"] == TIP else ""
        revision = self.tips.get((given["repo"], tip), "a" * 40) if tip else given["revision"]
        run = Run(
            *(stage, given["id"], given["repo"], revision, tip, user),
            *(int(stored.get("attempt", 0)), invocation, self.loop.time()),
        )
        if stage == "build":
            self._check_beginning(run, stored.get("state", ""), stored.get("ref", ""))
            images = self.images[user, run.repo]
            if images.job != run.job:
                running = [span.image for span in self._running(user, run.repo) if span.is_up and span.image]
                images.job, images.before = run.job, running[0] if running else images.verified
        self.runs.append(run)
        return run

    def _check_beginning(self, run: Run, state: str, ref: str) -> None:
        if state != "building":
            self.wrong.append(f"a build of job {run.job} began, which is {state}")
        builds = [each for each in self.runs if each.stage == "build"]
        if any((each.job, each.attempt) == (run.job, run.attempt) for each in builds):
            self.wrong.append(f"attempt {run.attempt} of job {run.job} was built twice")
        if run.job in self.pushed:
            place = self.pushed.index(run.job)
            for each in builds:
                same = each.repo == run.repo and self.memory.hashes[each.job].get("ref") == ref
                if same and each.job in self.pushed and self.pushed.index(each.job) > place:
                    self.wrong.append(f"job {run.job} began after the newer job {each.job}")

    def ended(self, run: Run, how: str) -> tuple[str, str]:
        """A stage ends, well or not. Returns how that was, and its Status, where the world has its say in it."""
        images, status = self.images[run.user, run.repo], ""
        if how == "succeeded" and run.stage == "build":
            images.named = run.revision
        elif how == "succeeded" and run.stage == "verify":
            if all(span.is_up and span.image == images.named for span in self._running(run.user, run.repo)):
                images.verified, status = images.named, f"verified: {images.named}"
            else:
                how, status = "refused", "failed: a unit does not run what it should"
        elif how == "succeeded" and run.stage == "rollback":
            if images.job == run.job and images.before:
                images.named = images.before
            else:
                how, status = "refused", "nothing: no container of these units ran before"
        run.how, run.ended = how, self.loop.time()
        return how, status

    def _running(self, user: str, repo: str) -> list[Span]:
        """The apps of a repo that were ever started."""
        found = [self.spans.get((user, app), []) for app in self.repos[repo].units]
        return [spans[-1] for spans in found if spans]

    def starts(self, user: str, app: str) -> None:
        """An app is started, from the image that there is now."""
        (repo,) = (name for name, repo in self.repos.items() if app in repo.units)
        image = self.images[user, repo].named
        self.spans.setdefault((user, app), []).append(Span(image, self.loop.time()))

    def is_up(self, user: str, app: str) -> None:
        self.spans[user, app][-1].up = self.loop.time()

    def is_down(self, user: str, app: str) -> None:
        for span in self.spans.get((user, app), [])[-1:]:
            if span.down < 0:
                span.down = self.loop.time()

    # -- what is so --------------------------------------------------------------------------------------------

    def building(self) -> list[Run]:
        return [run for run in self.runs if not run.how]

    def busy(self) -> list[tuple[str, str, str]]:
        """For which repo, as whom, for which job something is done now; but restarts that nobody waits for any more."""
        found = [(run.repo, run.user, run.job) for run in self.building()]
        for manager in self.managers.values():
            for unit in manager.units.values():
                for name, repo in self.repos.items():
                    waited = self.loop.time() - unit.since
                    if unit.name in repo.units and unit.job_type == "restart" and waited < repo.restart_timeout:
                        found.append((name, manager.user, ""))
        return found

    def settled(self, user: str, app: str, image: str, after: float, seconds: float) -> bool:
        """Whether an app was started from that image after that time, and was up for so long then."""
        for span in self.spans.get((user, app), []):
            until = span.down if span.down >= 0 else self.loop.time()
            if span.image == image and span.began >= after and span.up >= 0 and until - span.up >= seconds - 1e-6:
                return True
        return False

    def running_stages(self) -> list[tuple[ServiceManager, Unit]]:
        """Those that nobody has told to stop."""
        return [
            (manager, unit)
            for manager in self.managers.values()
            for unit in manager.units.values()
            if STAGE.fullmatch(unit.name) and unit.active == "activating"
        ]

    # -- what happens to all of it -----------------------------------------------------------------------------

    def end_all(self) -> None:
        """Every stage that runs comes to a good end."""
        for manager, unit in self.running_stages():
            manager.end(unit, "succeeded")

    def spool(self, job_id: str, fields: Mapping[str, str], created: float) -> None:
        """A push that Redis did not take, or of which the hook did not hear that it did."""
        path = self.directory / "spool" / f"{int(created * 1_000_000):016}-0001-{job_id}.json"
        path.write_text(json.dumps({"id": job_id, **fields}))

    def reboot(self) -> None:
        """Everything ends, and comes up again. What is in Redis, in the journal and in the spool is kept."""
        for manager in self.managers.values():
            manager.stop()
        shutil.rmtree(self.directory / "run")
        (self.directory / "run" / "jobs").mkdir(parents=True)
        self.memory.crash()
        self.memory.start()
        for manager in self.managers.values():
            manager.is_reachable = True
            manager.start()
