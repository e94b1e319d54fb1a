"""Responses to requests that failed: one sentence, as HTML or as JSON."""

import logging
from typing import Any

from aiohttp import web

from tinyci.store.viewer import ViewerError
from tinyci.web.followers import TooManyFollowersError
from tinyci.web.listing import QueryError
from tinyci.web.render import Renderer
from tinyci.web.responses import Handler, HttpError, json_response

log = logging.getLogger("tinyci.web")

_TITLES = {
    400: "Not understood",
    404: "Not found",
    405: "Not allowed",
    421: "Another server",
    500: "A defect of tinyci",
    503: "Not now",
}


def error_responses(renderer: Renderer) -> Any:
    """Return the middleware that answers a request whose handler raised."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _response(renderer, request, _of_library(error))
        except Exception as error:
            return _response(renderer, request, _as_http_error(request, error))

    return answer


def _as_http_error(request: web.Request, error: Exception) -> HttpError:
    match error:
        case HttpError():
            return error
        case QueryError():
            return HttpError(400, f"{error}.")
        case ViewerError():
            return HttpError(503, f"{error}. Pushes are kept until it is back.", {"Retry-After": "5"})
        case TooManyFollowersError():
            return HttpError(503, "As many follow jobs as may; try again soon.", {"Retry-After": "30"})
    log.error("%s %s: internal error", request.method, request.rel_url.raw_path[:200], exc_info=error)
    return HttpError(500, "This is a defect of tinyci: 'journalctl -u tinyci-web' says more.")


def _of_library(error: web.HTTPException) -> HttpError:
    if error.status == 405:
        methods = error.headers.get("Allow", "")
        return HttpError(405, f"Pages can be read, and nothing else: use {methods}.", {"Allow": methods})
    if error.status == 404:
        return HttpError(404, "There is no such page.")
    return HttpError(error.status, f"{error.reason}.")


def _response(renderer: Renderer, request: web.Request, error: HttpError) -> web.Response:
    if _wants_json(request):
        response = json_response({"error": str(error)}, error.status)
    else:
        title = _TITLES.get(error.status, "Not possible")
        path = request.rel_url.raw_path
        page = renderer.html("error.html", path, title=title, sentence=str(error), status=error.status)
        response = web.Response(text=page, status=error.status, content_type="text/html")
    response.headers.update(error.headers)
    return response


def _wants_json(request: web.Request) -> bool:
    accept = request.headers.get("Accept", "")
    return request.path.startswith("/api/") or ("application/json" in accept and "text/html" not in accept)
