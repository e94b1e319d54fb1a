"""The verify stage: what runs is what was built, and it is well.

Runs as the repo's user, as `tinyci-verify@HEX.service`, after the units were restarted and have stayed up for a while.
A unit without containers has nothing to verify here; the daemon sees to its state.
"""

import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import Verdict
from tinyci.stage import order, podman
from tinyci.stage.images import Images
from tinyci.stage.order import Order, StageError
from tinyci.stage.podman import Container

_INTERVAL = 0.5
"""Seconds between two looks: podman 4.3 cannot wait for a healthcheck, and a web server tells nobody that it is up."""
_ANSWER = 10.0
"""Seconds that the health URL may take for an answer."""


def main() -> None:
    """`tinyci-verify HEX`: exits with 0, or with 1 and a Status that says what is wrong."""
    sys.exit(order.carry_out(run))


def run(given: Order) -> int:
    """Verify the job's repo. The Status is then `verified: IMAGE…`, the ids of the images that run. Raises Refused."""
    job, repo = given
    deadline = time.monotonic() + repo.verify_timeout
    images = Images(repo) if podman.is_there() else None
    found = images.check() if images else []
    for container in found:
        _await(deadline, repo, lambda container=container: _health(container))  # type: ignore[misc]
    if repo.health:
        _await(deadline, repo, lambda: answer(repo.health))
    if images:
        images.verified(job.hex, found)
    print(f"tinyci: verified {len(found)} containers of {', '.join(repo.units)}", flush=True)
    order.report(Verdict.VERIFIED, " ".join(sorted({container.image for container in found})))
    return 0


def _await(deadline: float, repo: Repo, look: Callable[[], str]) -> None:
    """Look until it returns an empty string, and refuse with what it returned last when time is up."""
    while problem := look():
        if time.monotonic() + _INTERVAL > deadline:
            raise StageError(f"{problem}, after {timespan.show(repo.verify_timeout)} (verify_timeout)")
        time.sleep(_INTERVAL)


def _health(container: Container) -> str:
    state = podman.health(container.id)
    if state == "unhealthy":
        raise StageError(f"container {container.name} of {container.unit} is unhealthy, says its healthcheck")
    if state in ("", "healthy"):
        return ""
    return f"container {container.name} of {container.unit} is not healthy, says its healthcheck: {state}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None: a page that the URL leads to does not answer for it."""


# No proxy either: the URL is one of this host's, whatever the user's environment says.
_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def answer(url: str) -> str:
    """An empty string when the URL answers 2xx, or what it does instead."""
    try:
        with _OPENER.open(url, timeout=_ANSWER):
            return ""
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"{url} does not answer: {getattr(reason, 'strerror', None) or reason or type(reason).__name__}"


if __name__ == "__main__":
    main()
