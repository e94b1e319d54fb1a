"""tinyci-web: serves the pages until it is stopped, or nobody has asked for a while."""

import argparse
import asyncio
import inspect
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from aiohttp import web
from sdnotify import SystemdNotifier
from systemd import daemon

from tinyci import __version__
from tinyci.model import settings, toml
from tinyci.model.toml import ConfigError
from tinyci.store.viewer import StoreViewer
from tinyci.systemd import journal
from tinyci.web.app import Activity, application
from tinyci.web.live import Live

log = logging.getLogger("tinyci.web")

_STOPPING = 1.5
"""Seconds that answers may take to end when the process is stopped."""


class WebError(Exception):
    """Why it cannot serve; one sentence."""


async def serve(archive: StoreViewer, sockets: list[socket.socket], idle_exit: float) -> None:
    """Until SIGTERM, or until there was no request for that many seconds, if it is not 0."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    activity, live = Activity(), Live(archive)
    # Who goes away is noticed at once, with aiohttp before 3.9 at the next heartbeat.
    known = inspect.signature(web.Server.__init__).parameters
    noticing = {"handler_cancellation": True} if "handler_cancellation" in known else {}
    runner = web.AppRunner(application(archive, live, activity), access_log=None, handle_signals=False, **noticing)
    await runner.setup()
    notifier = SystemdNotifier()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(live.run(stop))
        for each in sockets:
            await web.SockSite(runner, each).start()
        notifier.notify(f"READY=1\nSTATUS=tinyci-web {__version__} serves")
        while not stop.is_set():
            left = idle_exit - activity.rested
            if idle_exit and left <= 0:
                log.info("no request for %g s; the next one starts tinyci-web again", idle_exit)
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left, 1.0) if idle_exit else None):
                    await stop.wait()
        stop.set()
        notifier.notify("STOPPING=1")
        await following
    # The library would wait a minute for whoever keeps his connection.
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOPPING):
            await runner.cleanup()
    await archive.close()


def inherited() -> list[socket.socket]:
    """The sockets that systemd listens on for us (sd_listen_fds(3))."""
    return [socket.socket(fileno=fd) for fd in daemon.listen_fds()]


def bound(place: str) -> socket.socket:
    """A socket at `HOST:PORT`, or at the path of a Unix socket. Raises WebError."""
    try:
        if place.startswith("/"):
            with suppress(FileNotFoundError):
                os.unlink(place)
            made = socket.socket(socket.AF_UNIX)
            made.bind(place)
            made.listen(128)
            return made
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal():
            raise WebError(f"{place!r} is no place to listen at: expected HOST:PORT or the path of a socket")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family)
    except (OSError, OverflowError) as error:
        raise WebError(f"cannot listen at {place}: {error}") from None


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    made = argparse.ArgumentParser(prog="tinyci-web", description="Show tinyci's jobs as web pages.")
    made.add_argument("--version", action="version", version=f"tinyci-web {__version__}")
    made.add_argument(
        "--listen", metavar="PLACE", help="HOST:PORT or the path of a Unix socket, instead of systemd's sockets"
    )
    made.add_argument(
        "--idle-exit", metavar="SECONDS", type=float, default=0.0, help="exit when nobody asks for so long; 0: never"
    )
    return made


def main() -> None:
    """`tinyci-web`, as tinyci-web.service runs it, or by hand with --listen."""
    arguments = parser().parse_args()
    if os.environ.get("INVOCATION_ID") and not arguments.listen:
        journal.log_to_journal()
    else:
        logging.basicConfig(level=logging.INFO, format="tinyci-web: %(message)s")
    etc = Path(os.environ.get("TINYCI_ETC", "/etc/tinyci"))
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/tinyci-web.service"))
    try:
        password = (credentials / "redis-password").read_text(encoding="utf-8").strip()
        file = etc / "tinyci.toml"
        text = toml.read(str(file)) if file.exists() else ""
        configured = settings.parse(str(file), text, os.cpu_count() or 1)
        sockets = [bound(arguments.listen)] if arguments.listen else inherited()
        if not sockets:
            raise WebError("there is no socket: it is started by tinyci-web.socket, or with --listen HOST:PORT")
        asyncio.run(serve(StoreViewer(configured.redis_socket, "web", password), sockets, arguments.idle_exit))
    except OSError as error:
        sys.exit(f"tinyci-web: {error.filename}: {error.strerror}; it runs as tinyci-web.service")
    except (ConfigError, WebError) as error:
        sys.exit(f"tinyci-web: {error}")


if __name__ == "__main__":
    main()
