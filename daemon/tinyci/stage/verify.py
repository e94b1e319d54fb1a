"""The verify stage: the containers run the images that were built, and they are well.

Runs as the repo's user, as `tinyci-verify@HEX.service`, after the units were restarted and have stayed up for a while.
A unit without containers has nothing to verify here; the daemon sees to its state.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict, verified_sentence
from tinyci.stage import healthcheck, podman, runner, status
from tinyci.stage.images import Images
from tinyci.stage.stagejob import StageJob
from tinyci.stage.status import StageError

_INTERVAL = 0.5
"""Seconds between two looks: podman 4.3 cannot wait for a healthcheck, and a web server sends no event."""


def main() -> None:
    """`tinyci-verify HEX`: exits with 0, or with 1 and a Status that says what is wrong."""
    sys.exit(runner.run_stage(run))


def run(stage_job: StageJob) -> int:
    """Verify the job's repo. The Status is then `verified: IMAGE…`, the ids of the images that run,
    and remarks. Raises StageError."""
    job, repo = stage_job
    deadline = time.monotonic() + repo.verify_timeout
    images = Images(repo) if podman.is_installed() else None
    unit_containers = images.check() if images else []
    containers = [each.container for each in unit_containers]
    remarks: set[str] = set()
    # One that has ended may have a healthcheck, which nothing runs any more.
    running = [each for each in unit_containers if each.container.is_running]
    details = podman.details({name for each in running for name in (each.container.id, each.container.image)})
    for each in running:
        container = each.container
        detail, history = details[container.id], podman.history(details[container.image])
        remarks.add(healthcheck.dropped_remark(container, detail, history))
        if not healthcheck.passes(detail):
            _wait_until_well(deadline, repo, partial(healthcheck.problem, container.id, each.title))
    if repo.health:
        from tinyci.stage import healthurl  # a client of HTTP is a quarter of all that is imported

        _wait_until_well(deadline, repo, partial(healthurl.problem, repo))
    if images:
        images.record_success(job.hex, containers)
    print(f"tinyci: verified {len(containers)} containers of {', '.join(repo.units)}", flush=True)
    images_of_all = {container.image for container in containers}
    status.report(Verdict.VERIFIED, verified_sentence(images_of_all, remarks - {""}))
    return 0


def _wait_until_well(deadline: float, repo: Repo, look: Callable[[], str]) -> None:
    """Look until there is no problem. Raises StageError with the last problem at the deadline."""
    while problem := look():
        if time.monotonic() + _INTERVAL > deadline:
            raise StageError(f"{problem}, after {timespan.show(repo.verify_timeout)} (verify_timeout)")
        time.sleep(_INTERVAL)


if __name__ == "__main__":
    main()
