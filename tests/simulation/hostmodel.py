"""The simulated host, which outlives the daemon: managers, stages, apps, images; and violations of promises."""

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
from tinyci.model.moment import Moment
from tinyci.model.repo import Repo
from virtualloop import VirtualLoop


@dataclass(eq=False)
class Run:
    """One run of a stage."""

    stage: str
    job: str
    repo: str
    revision: str
    """The commit that was checked out."""
    tip: str
    """The ref whose tip was checked out; empty for a job that names its revision."""
    user: str
    attempt: int
    invocation: str
    start: float
    end: float = -1.0
    result: str = ""
    """One of servicemanager.STAGE_ENDS, `stopped` or `cut off`; empty while it runs."""


@dataclass(eq=False)
class Span:
    """A period in which an app ran, with the image that it was started from. -1: not yet."""

    image: str
    start: float
    up: float = -1.0
    down: float = -1.0

    @property
    def is_up(self) -> bool:
        return self.up >= 0 > self.down


@dataclass(eq=False)
class Images:
    """A repo's images in the storage of a user, as in tinyci.stage.imagerecord; each is named by its revision."""

    current: str = ""
    """The image that has the repo's image name."""
    job: str = ""
    previous: str = ""
    """The image that ran before that job's build; when nothing ran, the last one that was verified."""
    last_verified: str = ""


@dataclass(eq=False)
class HostModel:
    loop: VirtualLoop
    directory: Path
    users: tuple[str, ...]
    repos: dict[str, Repo]
    """All repos, with the configuration of the beginning."""
    pace: Iterable[int]
    """Turns of the loop that each message takes, in this order, again and again."""
    violations: list[str] = field(default_factory=list)
    """Sentences about what should never have happened."""

    def __post_init__(self) -> None:
        self.redis = FakeRedis(self.time)
        self.managers = {user: ServiceManager(self, user) for user in self.users}
        self.runs: list[Run] = []
        self.spans: dict[tuple[str, str], list[Span]] = {}
        self.images: defaultdict[tuple[str, str], Images] = defaultdict(Images)
        self.plans: dict[str, str] = {}
        """By app: the kind of its next start, if not `well`."""
        self.tips: dict[tuple[str, str], str] = {}
        """By repo and ref: the newest commit."""
        self.pushes: list[str] = []
        """Ids of all jobs that were pushed, in push order."""
        self.clock_error = 0.0
        """Seconds by which the wall clock is ahead."""
        self._boot, self._boot_time = 1, 0.0
        self._turns = itertools.cycle(self.pace)
        self._ticks = itertools.count()
        self._numbers = itertools.count(1)
        for each in ("run/jobs", "spool"):
            (self.directory / each).mkdir(parents=True)

    # -- time and chance ---------------------------------------------------------------------------------------

    def time(self) -> float:
        """The wall clock, in seconds since the epoch; unless it is set, it never shows the same time twice."""
        return EPOCH + self.loop.time() + self.clock_error + next(self._ticks) / 1e6

    def moment(self) -> Moment:
        return Moment(f"{self._boot:032x}", self.loop.time() - self._boot_time + next(self._ticks) / 1e6)

    def next_number(self) -> int:
        return next(self._turns)

    def schedule(self, act: Callable[[], None], seconds: float = 0.0) -> None:
        """Call `act` after that time and the next number of turns."""

        def hop(turns: int) -> None:
            if turns:
                self.loop.call_soon(hop, turns - 1)
            else:
                act()

        self.loop.call_later(seconds, hop, self.next_number()) if seconds else self.loop.call_soon(
            hop, self.next_number()
        )

    def new_hex(self) -> str:
        return f"{next(self._numbers):032x}"

    # -- the managers' events ---------------------------------------------------------------------------------

    def apps(self) -> list[str]:
        return [unit for repo in self.repos.values() for unit in repo.units]

    def take_plan(self, app: str) -> str:
        return self.plans.pop(app, "well")

    def begin_stage(self, unit: str, user: str, invocation: str) -> Run:
        """Begin a stage: it reads its job file."""
        stage, job_hex = STAGE.fullmatch(unit).groups()  # type: ignore[union-attr]
        try:
            job_file = json.loads((self.directory / "run" / "jobs" / f"{job_hex}.json").read_text())
        except FileNotFoundError:
            job_file = {"id": "", "repo": "", "ref": "", "revision": ""}
            self.violations.append(f"{unit} began without its job file")
        fields = self.redis.hashes.get(job_file["id"], {})
        tip = job_file["ref"] if job_file["revision"] == TIP else ""
        revision = self.tips.get((job_file["repo"], tip), "a" * 40) if tip else job_file["revision"]
        attempt = int(fields.get("attempt", 0))
        run = Run(
            stage, job_file["id"], job_file["repo"], revision, tip, user, attempt, invocation, start=self.loop.time()
        )
        if stage == "build":
            self._check_beginning(run, fields.get("state", ""), fields.get("ref", ""))
            images = self.images[user, run.repo]
            if images.job != run.job:
                running = [span.image for span in self._newest_spans(user, run.repo) if span.is_up and span.image]
                images.job, images.previous = run.job, running[0] if running else images.last_verified
        self.runs.append(run)
        return run

    def _check_beginning(self, run: Run, state: str, ref: str) -> None:
        if state != "building":
            self.violations.append(f"a build of job {run.job} began, which is {state}")
        builds = [each for each in self.runs if each.stage == "build"]
        if any((each.job, each.attempt) == (run.job, run.attempt) for each in builds):
            self.violations.append(f"attempt {run.attempt} of job {run.job} was built twice")
        if run.job in self.pushes:
            place = self.pushes.index(run.job)
            for each in builds:
                same = each.repo == run.repo and self.redis.hashes[each.job].get("ref") == ref
                if same and each.job in self.pushes and self.pushes.index(each.job) > place:
                    self.violations.append(f"job {run.job} began after the newer job {each.job}")

    def may_succeed(self, run: Run) -> bool:
        return run.stage != "verify" or self.loop.time() >= run.start + self.repos[run.repo].settle

    def end_stage(self, run: Run, result: str) -> tuple[str, str]:
        """End a stage. Returns its result, which the state of the host may change, and the unit's StatusText."""
        images, status = self.images[run.user, run.repo], ""
        if result == "unchanged" and run.stage != "build":  # only a build ends so
            result = "succeeded"
        if result == "succeeded" and run.stage == "build":
            images.current = run.revision
        elif result == "succeeded" and run.stage == "verify":
            if all(span.is_up and span.image == images.current for span in self._newest_spans(run.user, run.repo)):
                images.last_verified, status = images.current, f"verified: {images.current}"
            else:
                result, status = "refused", "failed: a unit does not run what it should"
        elif result == "succeeded" and run.stage == "rollback":
            if images.job == run.job and images.previous:
                images.current = images.previous
            else:
                result, status = "refused", "nothing: no container of these units ran before"
        run.result, run.end = result, self.loop.time()
        return result, status

    def _newest_spans(self, user: str, repo: str) -> list[Span]:
        """Return the newest period of each app of a repo that was ever started."""
        spans_of_apps = [self.spans.get((user, app), []) for app in self.repos[repo].units]
        return [spans[-1] for spans in spans_of_apps if spans]

    def start_app(self, user: str, app: str) -> None:
        """Start an app from the current image."""
        (repo,) = (name for name, repo in self.repos.items() if app in repo.units)
        image = self.images[user, repo].current
        self.spans.setdefault((user, app), []).append(Span(image, self.loop.time()))

    def mark_up(self, user: str, app: str) -> None:
        self.spans[user, app][-1].up = self.loop.time()

    def mark_down(self, user: str, app: str) -> None:
        for span in self.spans.get((user, app), [])[-1:]:
            if span.down < 0:
                span.down = self.loop.time()

    # -- state --------------------------------------------------------------------------------------------

    def running_stages(self) -> list[Run]:
        return [run for run in self.runs if not run.result]

    def activities(self) -> list[tuple[str, str, str]]:
        """Return repo, user and job of all that goes on now, except restarts that the daemon has given up."""
        activities = [(run.repo, run.user, run.job) for run in self.running_stages()]
        for manager in self.managers.values():
            for unit in manager.units.values():
                for name, repo in self.repos.items():
                    age = self.loop.time() - unit.queue_time
                    if unit.name in repo.units and unit.job_type == "restart" and age < repo.restart_timeout:
                        activities.append((name, manager.user, ""))
        return activities

    def has_settled(self, user: str, app: str, image: str, after: float, seconds: float) -> bool:
        """Return whether the app was started from that image after that time, and then stayed up for those seconds."""
        for span in self.spans.get((user, app), []):
            until = span.down if span.down >= 0 else self.loop.time()
            if span.image == image and span.start >= after and span.up >= 0 and until - span.up >= seconds - 1e-6:
                return True
        return False

    def stage_units(self) -> list[tuple[ServiceManager, Unit]]:
        """Return the stages that run and are not being stopped."""
        return [
            (manager, unit)
            for manager in self.managers.values()
            for unit in manager.units.values()
            if STAGE.fullmatch(unit.name) and unit.active == "activating"
        ]

    # -- events -----------------------------------------------------------------------------

    def end_stages_well(self) -> None:
        """Let every stage that runs succeed."""
        for manager, unit in self.stage_units():
            manager.end_stage(unit, "succeeded")

    def spool_job(self, job_id: str, fields: Mapping[str, str], created: float) -> None:
        """Write a push to the spool, as the hook does when Redis does not confirm it."""
        path = self.directory / "spool" / f"{int(created * 1_000_000):016}-0001-{job_id}.json"
        path.write_text(json.dumps({"id": job_id, **fields}))

    def reboot(self) -> None:
        """End everything and start it again. The data of Redis, the journal and the spool stay."""
        for manager in self.managers.values():
            manager.stop()
        shutil.rmtree(self.directory / "run")
        (self.directory / "run" / "jobs").mkdir(parents=True)
        self._boot, self._boot_time = self._boot + 1, self.loop.time()
        self.redis.crash()
        self.redis.start()
        for manager in self.managers.values():
            manager.is_reachable = True
            manager.start()
