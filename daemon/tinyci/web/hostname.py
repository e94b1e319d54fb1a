"""The names under which the pages may be asked for over TCP."""

import ipaddress
import re
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tinyci.web.responses import Handler, HttpError

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{0,5})?")


def check_host(url: str) -> Any:
    """Return the middleware that refuses requests for another host than this one: an IP address, localhost, or the host
    of `url`.

    A page of another site may have its own name lead to this server, and would read the pages as its own (DNS
    rebinding); its requests have its name. Unix sockets are not for browsers.
    """
    own_names = {"localhost", *_names(url)}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not (_is_local(request) or _is_accepted(request, own_names)):
            raise HttpError(
                421,
                "These pages are not served under this name: use an IP address or localhost, or have the name in url "
                "of [web] in tinyci.toml.",
            )
        return await handler(request)

    return check


def _names(url: str) -> set[str]:
    """Return the host of a URL, as people and as browsers write it; nothing for a URL that has none."""
    with suppress(ValueError):
        if name := urlsplit(url).hostname:
            name = _normalize(name)
            with suppress(UnicodeError):
                return {name, name.encode("idna").decode()}
            return {name}
    return set()


def _is_local(request: web.Request) -> bool:
    """Return whether a request came over a Unix socket."""
    sock = request.transport.get_extra_info("socket") if request.transport else None
    return sock is not None and sock.family == socket.AF_UNIX


def _is_accepted(request: web.Request, own_names: set[str]) -> bool:
    hosts = request.headers.getall("Host", [])
    if not hosts:  # no browser sends that
        return request.version < (1, 1)
    return len(hosts) == 1 and is_own(hosts[0], own_names)


def is_own(host: str, own_names: set[str]) -> bool:
    """Return whether a Host header is an IP address or one of these names, with a port or without."""
    match = _HOST.fullmatch(host.strip(" \t"))
    if not match:
        return False
    name = match["name"]
    try:
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return _normalize(name) in own_names
    return True


def _normalize(name: str) -> str:
    return name.lower().removesuffix(".")
