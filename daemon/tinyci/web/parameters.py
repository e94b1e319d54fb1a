"""Numbers in the parameters and headers of a request."""

from aiohttp import web

from tinyci.web.responses import HttpError


def line_number(request: web.Request, name: str) -> int | None:
    """Parse a parameter that is the number of a line; None without it. Raises HttpError."""
    text = request.query.get(name, "")
    return _parse(text, name) if text else None


def last_event(request: web.Request) -> int | None:
    """Parse Last-Event-ID, the number of a line; None without it. Raises HttpError."""
    text = request.headers.get("Last-Event-ID", "")
    return _parse(text, "Last-Event-ID") if text else None


def _parse(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise HttpError(400, f"{name} is no number of a line.")
    return int(text)
