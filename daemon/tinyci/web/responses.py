"""Responses of all kinds: their headers, JSON, and the error that becomes a response."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

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

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpError(Exception):
    """A response with another status than 200, for a request that cannot be answered; one sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


def not_found(sentence: str) -> HttpError:
    return HttpError(404, sentence)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Complete the headers before a response begins, also a stream."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "tinyci"


def json_response(data: Any, status: int = 200) -> web.Response:
    # The library escapes all that is not ASCII, so that a lone surrogate cannot break it.
    return web.Response(
        text=json.dumps(data, separators=(",", ":")) + "\n", status=status, content_type="application/json"
    )
