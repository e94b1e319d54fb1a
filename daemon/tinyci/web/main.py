"""tinyci-web: serves the pages until a signal, or until nobody has asked for a while."""

import argparse
import asyncio
import logging
import os
import socket
import sys
from contextlib import suppress

from aiohttp import web

from tinyci import __version__
from tinyci.log import log_to_journal
from tinyci.model.toml import ConfigError
from tinyci.runtime import service
from tinyci.store.viewer import StoreViewer
from tinyci.systemd.sockets import inherited_sockets
from tinyci.web.activity import Activity
from tinyci.web.app import application
from tinyci.web.followers import Followers
from tinyci.web.serverlog import ignore_malformed_requests

log = logging.getLogger("tinyci.web")

_STOPPING = 1.5
"""Seconds that answers may take to end when the process is stopped."""


class WebError(Exception):
    """The pages cannot be served; one sentence."""


async def serve(viewer: StoreViewer, sockets: list[socket.socket], idle_exit: float, url: str) -> None:
    """Serve until SIGTERM, or until there was no request for `idle_exit` seconds, if that is not 0. `url`: that of the
    pages for people, or empty."""
    stop = service.stop_event()
    activity, followers = Activity(), Followers(viewer)
    runner = web.AppRunner(
        application(viewer, followers, activity, url),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,  # the end of a follower's connection is noticed at once
    )
    ignore_malformed_requests()
    await runner.setup()
    notifier = service.Notifier()
    async with asyncio.TaskGroup() as group:
        readers = group.create_task(followers.run(stop))
        for each in sockets:
            await web.SockSite(runner, each).start()
        notifier.notify("READY=1", f"STATUS=tinyci-web {__version__} serves")
        await _wait_until_idle(activity, idle_exit, stop)
        stop.set()
        notifier.notify("STOPPING=1")
        await readers
    # The library would wait a minute for a client that keeps its connection.
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOPPING):
            await runner.cleanup()
    await viewer.close()


async def _wait_until_idle(activity: Activity, idle_exit: float, stop: asyncio.Event) -> None:
    """Wait until `stop`, or until there was no request for `idle_exit` seconds, if that is not 0."""
    while not stop.is_set():
        rest = idle_exit - activity.idle_seconds
        if idle_exit and rest <= 0:
            log.info("no request for %g s; the next one starts tinyci-web again", idle_exit)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(rest, 1.0) if idle_exit else None):
                await stop.wait()


def listen(place: str) -> socket.socket:
    """Listen at `HOST:PORT`, or at the path of a Unix socket. Raises WebError."""
    try:
        if place.startswith("/"):
            with suppress(FileNotFoundError):
                os.unlink(place)
            unix_socket = socket.socket(socket.AF_UNIX)
            unix_socket.bind(place)
            unix_socket.listen(128)
            return unix_socket
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal():
            raise WebError(f"{place!r} is no place to listen at: expected HOST:PORT or the path of a socket")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family)
    except (OSError, OverflowError) as error:
        raise WebError(f"cannot listen at {place}: {error}") from None


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    command_line = argparse.ArgumentParser(prog="tinyci-web", description="Show tinyci's jobs as web pages.")
    command_line.add_argument("--version", action="version", version=f"tinyci-web {__version__}")
    command_line.add_argument(
        "--listen", metavar="PLACE", help="HOST:PORT or the path of a Unix socket, instead of systemd's sockets"
    )
    command_line.add_argument(
        "--idle-exit", metavar="SECONDS", type=float, default=0.0, help="exit when nobody asks for so long; 0: never"
    )
    return command_line


def main() -> None:
    """`tinyci-web`, as tinyci-web.service runs it, or by hand with --listen."""
    arguments = parser().parse_args()
    if os.environ.get("INVOCATION_ID") and not arguments.listen:
        log_to_journal()
    else:
        logging.basicConfig(level=logging.INFO, format="tinyci-web: %(message)s")
    try:
        password = service.credential("redis-password", "tinyci-web.service")
        settings = service.load_settings(service.etc())
        sockets = [listen(arguments.listen)] if arguments.listen else inherited_sockets()
        if not sockets:
            raise WebError("there is no socket: it is started by tinyci-web.socket, or with --listen HOST:PORT")
        viewer = StoreViewer(settings.redis_socket, "web", password)
        asyncio.run(serve(viewer, sockets, arguments.idle_exit, settings.web_url))
    except OSError as error:
        sys.exit(f"tinyci-web: {error.filename}: {error.strerror}; it runs as tinyci-web.service")
    except (ConfigError, WebError) as error:
        sys.exit(f"tinyci-web: {error}")


if __name__ == "__main__":
    main()
