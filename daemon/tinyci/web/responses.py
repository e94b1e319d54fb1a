"""What all answers have in common: their headers, and how what goes wrong is told."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tinyci.store.viewer import ViewerError
from tinyci.web.listing import QueryError
from tinyci.web.live import TooManyFollowersError
from tinyci.web.render import Renderer

log = logging.getLogger("tinyci.web")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
_TITLES = {400: "Not understood", 404: "Not found", 405: "Not allowed", 500: "A defect of tinyci", 503: "Not now"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpError(Exception):
    """An answer that is not what was asked for: its status, and one sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


def not_found(what: str) -> HttpError:
    return HttpError(404, what)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Before any answer begins, streams with it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "tinyci"


def json_of(data: Any, status: int = 200) -> web.Response:
    # With all else escaped, it is ASCII, and a lone surrogate cannot break it.
    return web.Response(
        text=json.dumps(data, separators=(",", ":")) + "\n", status=status, content_type="application/json"
    )


def errors(renderer: Renderer) -> Any:
    """The middleware that tells them."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except HttpError as wrong:
            return _told(request, wrong)
        except QueryError as error:
            return _told(request, HttpError(400, f"{error}."))
        except ViewerError as error:
            return _told(request, HttpError(503, f"{error}. Pushes are kept until it is back.", {"Retry-After": "5"}))
        except TooManyFollowersError:
            return _told(request, HttpError(503, "As many follow jobs as may; try again soon.", {"Retry-After": "30"}))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _told(request, _of_the_library(error))
        except Exception:
            log.exception("%s %s: internal error", request.method, request.rel_url.raw_path[:200])
            return _told(request, HttpError(500, "This is a defect of tinyci: 'journalctl -u tinyci-web' says more."))

    def _told(request: web.Request, wrong: HttpError) -> web.Response:
        if wants_json(request):
            response = json_of({"error": str(wrong)}, wrong.status)
        else:
            title = _TITLES.get(wrong.status, "Not possible")
            path = request.rel_url.raw_path
            page = renderer.html("error.html", path, title=title, sentence=str(wrong), status=wrong.status)
            response = web.Response(text=page, status=wrong.status, content_type="text/html")
        response.headers.update(wrong.headers)
        return response

    return tell


def wants_json(request: web.Request) -> bool:
    accept = request.headers.get("Accept", "")
    return request.path.startswith("/api/") or ("application/json" in accept and "text/html" not in accept)


def _of_the_library(error: web.HTTPException) -> HttpError:
    if error.status == 405:
        allowed = error.headers.get("Allow", "")
        return HttpError(405, f"Pages can be read, and nothing else: use {allowed}.", {"Allow": allowed})
    if error.status == 404:
        return HttpError(404, "There is no such page.")
    return HttpError(error.status, f"{error.reason}.")
