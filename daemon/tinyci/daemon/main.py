"""The daemon: wires everything together; ready, watchdog, reload, stop."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sdnotify import SystemdNotifier

from tinyci import __version__, catalog
from tinyci.api.jobregistry import EXPORTED
from tinyci.api.objects import ObjectServer
from tinyci.daemon.diagnosis import Diagnosis
from tinyci.daemon.dispatch import Dispatch
from tinyci.daemon.requests import RequestHandler
from tinyci.dbus.bus import BusError, BusGoneError
from tinyci.log import fields, log_to_journal
from tinyci.model import settings, toml
from tinyci.model.repos import Repos
from tinyci.model.settings import Settings
from tinyci.model.state import FINAL
from tinyci.model.toml import ConfigError
from tinyci.store.writer import StoreError, StoreWriter
from tinyci.systemd import journal
from tinyci.systemd.journal import JournalError
from tinyci.systemd.managers import Managers

log = logging.getLogger("tinyci")


class Daemon:
    """One process' worth of tinyci."""

    def __init__(self, etc: Path, password: str) -> None:
        self._etc = etc
        self._notifier = SystemdNotifier()
        settings = self._read_config()
        self._store = StoreWriter(
            *(settings.redis_socket, "daemon", password, self._on_outage),
            lambda job_id: self._api.log_grew(job_id),
            lambda: self._api.event_added(),
        )
        self._managers = Managers()
        self._dispatch = Dispatch(
            self._store, self._managers, settings, self._take_repos(), self._tell, lambda: self._notify(self._status())
        )
        diagnosis = Diagnosis(self._store, self._dispatch, lambda: (self._read_config(), self._read_repos()))
        self._api = ObjectServer(RequestHandler(self._store, self._dispatch), self._store, diagnosis)
        self._redis_error = ""

    async def run(self) -> None:
        """Serve until SIGTERM."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._watchdog()), group.create_task(self._serve())]
            await stop.wait()
            self._notify("STOPPING=1", "STATUS=stopping; builds go on and are taken up again")
            about = fields(message_id=catalog.STOPPING)
            running = len(self._dispatch.running)
            log.info("stopping; %d running deploys are taken up again by the next start", running, extra=about)
            for task in tasks:
                task.cancel()
        await self._api.close()
        await self._managers.close()
        await self._store.close()

    async def _serve(self) -> None:
        try:
            journal.check_readable()
        except JournalError as error:
            log.error("%s; jobs will have no output", error, extra=fields(message_id=catalog.NO_JOURNAL))
        self._notify("STATUS=waiting for the system bus")
        await self._api.connect()
        self._notify(f"STATUS=waiting for Redis at {self._dispatch.settings.redis_socket}")
        await self._store.ping()
        for job_id in reversed(await self._store.recent_ids(EXPORTED)):
            with suppress(StoreError):
                found = await self._store.job(job_id)
                if found.get("state") in FINAL:
                    self._api.add(job_id, found, announce=False)
        await self._dispatch.resume()
        known = len(self._dispatch.repos.by_name)
        log.info("tinyci %s is ready, with %d repos", __version__, known, extra=fields(message_id=catalog.READY))
        self._notify("READY=1", self._status())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._api.keep_connected(self._on_bus_lost))
            group.create_task(self._dispatch.run())

    def _tell(self, job_id: str, repo_name: str, changed: Mapping[str, str]) -> None:
        """The bus, the journal and the unit's Status hear of fields of a job."""
        self._api.add(job_id, changed)
        self._notify(self._status())
        about = fields(job=job_id, repo=repo_name, unit=changed.get("unit", ""), state=changed.get("state", ""))
        if changed.get("unit_output"):
            log.warning(
                "job %s: what the unit said last:\n%s",
                *(job_id, changed["unit_output"].rstrip()),
                extra={**about, **fields(message_id=catalog.UNIT_OUTPUT)},
            )
        if "state" not in changed:
            return
        state, reason = changed["state"], changed.get("reason", "")
        told = f"{repo_name} {state}" + (f": {reason}" if reason else "")
        if "revision" in changed:  # all of the job: it was accepted just now
            told = f"{repo_name} {state}, {changed.get('ref', '')} at {changed['revision'][:12]}"
        log.log(
            logging.WARNING if state in FINAL and changed.get("success") != "true" else logging.INFO,
            "job %s: %s",
            *(job_id, told),
            extra={**about, **fields(message_id=catalog.JOB_STATE)},
        )

    # -- the service -------------------------------------------------------------------------------------------

    def _status(self) -> str:
        if self._redis_error:
            return f"STATUS=Redis does not answer ({self._redis_error}); waiting for it"
        dispatch = self._dispatch
        parts = [
            "paused" if dispatch.paused else "",
            ", ".join(f"{deploy.repo.name} {deploy.job.state}" for deploy in dispatch.running),
            f"{dispatch.queued} queued" if dispatch.queued else "",
            f"{len(dispatch.repos.errors)} wrong repo files" if dispatch.repos.errors else "",
        ]
        return "STATUS=" + ("; ".join(filter(None, parts)) or f"idle, {len(dispatch.repos.by_name)} repos")

    def _on_outage(self, error: str | None) -> None:
        if error:
            about = fields(message_id=catalog.REDIS_AWAY)
            log.error(
                "Redis does not answer (%s); pushes are kept in the spool, running deploys go on", error, extra=about
            )
        else:
            log.info("Redis is back", extra=fields(message_id=catalog.REDIS_BACK))
            self._dispatch.mark_stale()
        self._redis_error = error or ""
        self._notify(self._status())

    def _on_bus_lost(self, error: str) -> None:
        log.warning("%s; connecting again", error, extra=fields(message_id=catalog.BUS_LOST))

    def _notify(self, *lines: str) -> None:
        self._notifier.notify("\n".join(lines))

    async def _watchdog(self) -> None:
        """Tied to the loop alone: an outage of Redis or of a bus is not cured by a restart."""
        interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000
        while interval:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _reload(self) -> None:
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            changed = self._read_config()
            if changed.redis_socket != self._dispatch.settings.redis_socket:
                about = fields(message_id=catalog.WRONG_CONFIG)
                log.warning("redis.socket was changed: restart tinyci.service for that", extra=about)
            self._dispatch.settings = changed
        except ConfigError as error:
            about = fields(message_id=catalog.WRONG_CONFIG)
            log.error("%s; the configuration before is kept", error, extra=about)
        self._dispatch.repos = self._take_repos()
        known = len(self._dispatch.repos.by_name)
        log.info("reloaded, %d repos", known, extra=fields(message_id=catalog.RELOADED))
        self._dispatch.wake()
        self._api.repos_changed()
        self._notify("READY=1", self._status())

    def _read_config(self) -> Settings:
        file = self._etc / "tinyci.toml"
        text = toml.read(str(file)) if file.exists() else ""
        return settings.parse(str(file), text, os.cpu_count() or 1)

    def _read_repos(self) -> Repos:
        return Repos.read(f"{self._etc}/repos.d")

    def _take_repos(self) -> Repos:
        repos = self._read_repos()
        for name, error in repos.errors.items():
            log.error("%s", error, extra=fields(repo=name, message_id=catalog.WRONG_REPO))
        return repos


def main() -> None:
    """`tinyci-daemon`, as tinyci.service runs it."""
    log_to_journal()
    etc = Path(os.environ.get("TINYCI_ETC", "/etc/tinyci"))
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/tinyci.service"))
    try:
        password = (credentials / "redis-password").read_text(encoding="utf-8").strip()
        asyncio.run(_main(etc, password))
    except OSError as error:
        sys.exit(f"tinyci-daemon: {error.filename}: {error.strerror}; it runs as tinyci.service")
    except (ConfigError, BusGoneError, BusError) as error:
        sys.exit(f"tinyci-daemon: {error}")


async def _main(etc: Path, password: str) -> None:
    await Daemon(etc, password).run()


if __name__ == "__main__":
    main()
