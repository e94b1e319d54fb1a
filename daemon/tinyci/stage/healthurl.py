"""The health URL of a repo: it has to answer with a status that the repo accepts."""

import http.client
import urllib.error
import urllib.request

from tinyci.model.repo import Repo
from tinyci.model.text import visible
from tinyci.stage.status import StageError

_ANSWER_TIMEOUT = 10.0
"""Seconds that it may take for an answer."""
_LOCATION_MAX = 200
_NAME_STATUSES = (400, 403, 404, 421)
"""Statuses of servers that do not know the name by which they are asked (RFC 9110)."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow no redirect: another page does not answer for the URL."""


# No proxy either: the URL is one of this host's, whatever the user's environment says.
_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def problem(repo: Repo) -> str:
    """Return the problem of the repo's health URL; empty when its answer is accepted. Raises StageError for a redirect,
    which no waiting changes."""
    url = repo.health
    try:
        request = urllib.request.Request(url, headers=repo.health_header_values)
        with _OPENER.open(request, timeout=_ANSWER_TIMEOUT) as answer:
            return _status_problem(repo, answer.status, "")
    except urllib.error.HTTPError as error:
        with error:
            return _status_problem(repo, error.code, error.headers.get("Location") or "")
    except (OSError, OverflowError, ValueError, http.client.HTTPException) as error:  # a port may be of any length
        reason = getattr(error, "reason", error)
        return f"{url} does not answer: {getattr(reason, 'strerror', None) or reason or type(reason).__name__}"


def _status_problem(repo: Repo, status: int, location: str) -> str:
    if repo.accepts_status(status):
        return ""
    text = f"{repo.health} answers {status}"
    if 300 <= status < 400 and location:
        raise StageError(
            f"{text} and leads to {visible(location)[:_LOCATION_MAX]}: ask for that page in 'health', send the header "
            "that it lacks (health_headers: Host, X-Forwarded-Proto), or accept the status (health_status)"
        )
    has_host = any(name.lower() == "host" for name in repo.health_header_values)
    if status in _NAME_STATUSES and not has_host:
        text += ' (if the server answers to its own name alone: health_headers = ["Host: NAME"])'
    return text
