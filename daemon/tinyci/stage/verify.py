"""The verify stage: the containers run the images that were built, and they are well.

Runs as the repo's user, as `tinyci-verify@HEX.service`, after the units were restarted and have stayed up for a while.
A unit without containers has nothing to verify here; the daemon sees to its state.
"""

import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial

from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict
from tinyci.stage import podman, runner, status
from tinyci.stage.images import Images
from tinyci.stage.ownership import UnitContainer
from tinyci.stage.stagejob import StageJob
from tinyci.stage.status import StageError

_INTERVAL = 0.5
"""Seconds between two looks: podman 4.3 cannot wait for a healthcheck, and a web server sends no event."""
_ANSWER_TIMEOUT = 10.0
"""Seconds that the health URL may take for an answer."""


def main() -> None:
    """`tinyci-verify HEX`: exits with 0, or with 1 and a Status that says what is wrong."""
    sys.exit(runner.run_stage(run))


def run(stage_job: StageJob) -> int:
    """Verify the job's repo. The Status is then `verified: IMAGE…`, the ids of the images that run. Raises
    StageError."""
    job, repo = stage_job
    deadline = time.monotonic() + repo.verify_timeout
    images = Images(repo) if podman.is_installed() else None
    unit_containers = images.check() if images else []
    containers = [each.container for each in unit_containers]
    for each in unit_containers:
        if each.container.is_running:  # one that has ended may have a healthcheck, which nothing runs any more
            _wait_until_well(deadline, repo, partial(_container_problem, each))
    if repo.health:
        _wait_until_well(deadline, repo, partial(url_problem, repo.health))
    if images:
        images.record_success(job.hex, containers)
    print(f"tinyci: verified {len(containers)} containers of {', '.join(repo.units)}", flush=True)
    status.report(Verdict.VERIFIED, " ".join(sorted({container.image for container in containers})))
    return 0


def _wait_until_well(deadline: float, repo: Repo, look: Callable[[], str]) -> None:
    """Look until there is no problem. Raises StageError with the last problem at the deadline."""
    while problem := look():
        if time.monotonic() + _INTERVAL > deadline:
            raise StageError(f"{problem}, after {timespan.show(repo.verify_timeout)} (verify_timeout)")
        time.sleep(_INTERVAL)


def _container_problem(container: UnitContainer) -> str:
    state = podman.health(container.container.id)
    if state == "unhealthy":
        raise StageError(f"{container.title} is unhealthy, says its healthcheck")
    if state in ("", "healthy"):
        return ""
    return f"{container.title} is not healthy, says its healthcheck: {state}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow no redirect: another page does not answer for the URL."""


# No proxy either: the URL is one of this host's, whatever the user's environment says.
_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def url_problem(url: str) -> str:
    """Return the problem of a URL; empty when it answers 2xx."""
    try:
        with _OPENER.open(url, timeout=_ANSWER_TIMEOUT):
            return ""
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except (OSError, OverflowError, ValueError, http.client.HTTPException) as error:  # a port may be of any length
        reason = getattr(error, "reason", error)
        return f"{url} does not answer: {getattr(reason, 'strerror', None) or reason or type(reason).__name__}"


if __name__ == "__main__":
    main()
