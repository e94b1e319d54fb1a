"""The verify stage: the units stay up, their containers run the images that were built, and they are well.

Runs as the repo's user, as `tinyci-verify@HEX.service`, from the end of the restart on. It looks at once, and once more
when the units have stayed up for the settle time: what has not changed meanwhile need not be asked again. A unit
without containers has nothing to verify here; the daemon sees to its state.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict, verified_sentence
from tinyci.stage import healthcheck, podman, runner, status
from tinyci.stage.images import START_PATIENCE, Images
from tinyci.stage.ownership import UnitContainer
from tinyci.stage.stagejob import StageJob
from tinyci.stage.status import StageError

_INTERVAL = 0.5
"""Seconds between two looks: podman 4.3 cannot wait for a healthcheck, and a web server sends no event."""


def main() -> None:
    """`tinyci-verify HEX`: exits with 0, or with 1 and a Status that says what is wrong."""
    sys.exit(runner.run_stage(run))


class Look(NamedTuple):
    """The containers of a repo's units at one moment."""

    containers: Sequence[UnitContainer]
    details: Mapping[str, Mapping[str, Any]]
    """All that podman knows of those that run and of their images, by their ids."""

    @property
    def running(self) -> list[UnitContainer]:
        """The containers that run: one that has ended may have a healthcheck, which nothing runs any more."""
        return [each for each in self.containers if each.container.is_running]


def run(stage_job: StageJob) -> int:
    """Verify the job's repo. The Status is then `verified: IMAGE…`, the ids of the images that run,
    and remarks. Raises StageError."""
    job, repo = stage_job
    images = Images(repo) if podman.is_installed() else None
    first = _first_look(images) if images else None
    time.sleep(max(0.0, repo.settle - _age()))
    deadline = time.monotonic() + repo.verify_timeout
    look = Look((), {})
    if images:
        look = first if first and images.is_as_before() else _look(images)
    remarks: set[str] = set()
    for each in look.running:
        container = each.container
        detail, history = look.details[container.id], podman.history(look.details[container.image])
        remarks.add(healthcheck.dropped_remark(container, detail, history))
        # What it was at the first look, it need not be any more.
        if healthcheck.is_checked(detail) and (look is first or not healthcheck.passes(detail)):
            _wait_until_well(deadline, repo, partial(healthcheck.problem, container.id, each.title))
    if repo.health:
        from tinyci.stage import healthurl  # a client of HTTP is a quarter of all that is imported

        _wait_until_well(deadline, repo, partial(healthurl.problem, repo))
    containers = [each.container for each in look.containers]
    if images:
        images.record_success(job.hex, containers)
    print(f"tinyci: verified {len(containers)} containers of {', '.join(repo.units)}", flush=True)
    images_of_all = {container.image for container in containers}
    status.report(Verdict.VERIFIED, verified_sentence(images_of_all, remarks - {""}))
    return 0


def _first_look(images: Images) -> Look | None:
    """Look while the units may still be on their way up; None when that shows anything but a success."""
    try:
        look = _look(images, patience=0.0)
        images.keep(each.container for each in look.containers)
    except (StageError, OSError):
        return None
    return look


def _look(images: Images, patience: float = START_PATIENCE) -> Look:
    containers = images.check(patience)
    running = [each.container for each in containers if each.container.is_running]
    return Look(containers, podman.details({name for each in running for name in (each.id, each.image)}))


def _age() -> float:
    """Return the seconds since this process began: what Python takes to start is a part of the settle time."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        begin = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")  # proc(5), starttime
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begin


def _wait_until_well(deadline: float, repo: Repo, look: Callable[[], str]) -> None:
    """Look until there is no problem. Raises StageError with the last problem at the deadline."""
    while problem := look():
        if time.monotonic() + _INTERVAL > deadline:
            raise StageError(f"{problem}, after {timespan.show(repo.verify_timeout)} (verify_timeout)")
        time.sleep(_INTERVAL)


if __name__ == "__main__":
    main()
