"""The daemon: wires its parts together, and serves as tinyci.service: ready, watchdog, reload, stop."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tinyci import __version__, catalog
from tinyci.api.jobregistry import EXPORTED
from tinyci.api.objects import ObjectServer
from tinyci.daemon.diagnosis import Diagnosis
from tinyci.daemon.dispatch import Dispatch
from tinyci.daemon.listener import Listener
from tinyci.daemon.requests import RequestHandler
from tinyci.dbus.bus import BusError, BusGoneError
from tinyci.log import fields, log_to_journal
from tinyci.model.places import SPOOL
from tinyci.model.repos import Repos
from tinyci.model.state import is_final
from tinyci.model.toml import ConfigError
from tinyci.runtime import directorywatch, service
from tinyci.runtime.waiting import leaf_of
from tinyci.store.writer import StoreError, StoreWriter
from tinyci.systemd import journal
from tinyci.systemd.journal import JournalError
from tinyci.systemd.managers import Managers

_STATUS_PAUSE = 0.2
"""Seconds in which changes of the status are one: the service manager tells each one to all that listen."""

log = logging.getLogger("tinyci")


class Daemon(Listener):
    """The daemon's one process. As a listener it tells the bus, the journal and the service manager what happens."""

    def __init__(self, etc: Path, password: str) -> None:
        self._etc = etc
        self._notifier = service.Notifier()
        settings = service.load_settings(etc)
        self._store = StoreWriter(settings.redis_socket, "daemon", password, listener=self)
        self._managers = Managers()
        self._dispatch = Dispatch(self._store, self._managers, settings, self._load_repos(), listener=self)
        diagnosis = Diagnosis(self._store, self._dispatch, etc)
        self._api = ObjectServer(RequestHandler(self._store, self._dispatch), self._store, diagnosis)
        self._redis_error = ""
        """The reason why Redis does not answer; empty while it does."""
        self._status_timer: asyncio.TimerHandle | None = None
        """Sends the status that has changed."""
        self._is_stopping = False

    async def run(self) -> None:
        """Serve until SIGTERM."""
        stop = service.stop_event()
        service.on_signal(self._reload, signal.SIGHUP)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._watchdog()), group.create_task(self._serve())]
            await stop.wait()
            self._is_stopping = True
            self._notify("STOPPING=1", "STATUS=stopping; builds go on and are taken up again")
            about = fields(message_id=catalog.STOPPING)
            count = len(self._dispatch.deploys)
            log.info("stopping; %d running deploys are taken up again by the next start", count, extra=about)
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
        recent_ids = (await self._store.recent_ids(EXPORTED))[::-1]
        newest_ids = {job.repo: job.id for job in await self._store.kept_jobs()}
        for job_id in (*set(newest_ids.values()).difference(recent_ids), *recent_ids):
            with suppress(StoreError):
                job_fields = await self._store.job(job_id)
                if is_final(job_fields.get("state", "")):
                    self._api.add(job_id, job_fields, announce=False)
        await self._dispatch.resume()
        count = len(self._dispatch.repos.by_name)
        log.info("tinyci %s is ready, with %d repos", __version__, count, extra=fields(message_id=catalog.READY))
        self._notify("READY=1", self._status())
        with directorywatch.watched(SPOOL, self._dispatch.spool_news):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._api.keep_connected(self._on_bus_lost))
                group.create_task(self._dispatch.run())

    # -- the listener ------------------------------------------------------------------------------------------

    def lacks_fields(self, job_id: str) -> bool:
        return self._api.lacks_fields(job_id)

    def job_changed(self, job_id: str, repo: str, changes: Mapping[str, str]) -> None:
        self._api.add(job_id, changes)
        self._notify_status()
        about = fields(job=job_id, repo=repo, unit=changes.get("unit", ""), state=changes.get("state", ""))
        if changes.get("unit_output"):
            log.warning(
                "job %s: what the unit said last:\n%s",
                job_id,
                changes["unit_output"].rstrip(),
                extra={**about, **fields(message_id=catalog.UNIT_OUTPUT)},
            )
        if "state" in changes:
            is_failure = is_final(changes["state"]) and changes.get("success") != "true"
            log.log(
                logging.WARNING if is_failure else logging.INFO,
                "job %s: %s",
                job_id,
                _sentence(repo, changes),
                extra={**about, **fields(message_id=catalog.JOB_STATE)},
            )

    def queue_changed(self) -> None:
        self._notify_status()

    def log_grew(self, job_id: str) -> None:
        self._api.log_grew(job_id)

    def event_added(self) -> None:
        self._api.event_added()

    def redis_away(self, error: str) -> None:
        about = fields(message_id=catalog.REDIS_AWAY)
        log.error("Redis does not answer (%s); pushes are kept in the spool, running deploys go on", error, extra=about)
        self._redis_error = error
        self._notify_status()

    def redis_back(self) -> None:
        log.info("Redis is back", extra=fields(message_id=catalog.REDIS_BACK))
        self._dispatch.mark_stale()
        self._redis_error = ""
        self._notify_status()

    def redis_full(self) -> None:
        self._dispatch.redis_full()

    def _on_bus_lost(self, error: str) -> None:
        log.warning("%s; connecting again", error, extra=fields(message_id=catalog.BUS_LOST))

    # -- the service -------------------------------------------------------------------------------------------

    def _notify(self, *lines: str) -> None:
        self._notifier.notify(*lines)

    def _notify_status(self) -> None:
        """Send the status soon, as it is then."""
        if not self._status_timer:
            self._status_timer = asyncio.get_running_loop().call_later(_STATUS_PAUSE, self._send_status)

    def _send_status(self) -> None:
        self._status_timer = None
        if not self._is_stopping:
            self._notify(self._status())

    def _status(self) -> str:
        if self._redis_error:
            return f"STATUS=Redis does not answer ({self._redis_error}); waiting for it"
        dispatch = self._dispatch
        parts = [
            "paused" if dispatch.is_paused else "",
            ", ".join(f"{deploy.repo.name} {deploy.job.state}" for deploy in dispatch.deploys),
            f"{dispatch.queue_length} queued" if dispatch.queue_length else "",
            f"{len(dispatch.repos.errors)} wrong repo files" if dispatch.repos.errors else "",
        ]
        return "STATUS=" + ("; ".join(filter(None, parts)) or f"idle, {len(dispatch.repos.by_name)} repos")

    async def _watchdog(self) -> None:
        """Notify the watchdog from the loop alone: a restart would not end an outage of Redis or of a bus."""
        interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000
        while interval:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _reload(self) -> None:
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        settings = self._dispatch.settings
        try:
            settings = service.load_settings(self._etc)
            if settings.redis_socket != self._dispatch.settings.redis_socket:
                about = fields(message_id=catalog.WRONG_CONFIG)
                log.warning("redis.socket was changed: restart tinyci.service for that", extra=about)
        except (ConfigError, OSError) as error:
            about = fields(message_id=catalog.WRONG_CONFIG)
            log.error("%s; the configuration before is kept", error, extra=about)
        try:
            repos = self._load_repos()
            self._dispatch.configure(settings, repos)
            self._api.repos_changed()
            log.info("reloaded, %d repos", len(repos.by_name), extra=fields(message_id=catalog.RELOADED))
        except OSError as error:
            about = fields(message_id=catalog.WRONG_CONFIG)
            log.error("%s: %s; the repos of before are kept", error.filename, error.strerror, extra=about)
        finally:  # else the unit would be `reloading` for ever
            self._notify("READY=1", self._status())

    def _load_repos(self) -> Repos:
        """Read the files of all repos, and log the errors of wrong ones. Raises OSError when there is a directory that
        cannot be read: that is not the same as no repos."""
        directory = self._etc / "repos.d"
        with suppress(FileNotFoundError):
            os.listdir(directory)
        repos = Repos.read(str(directory))
        for name, error in repos.errors.items():
            log.error("%s", error, extra=fields(repo=name, message_id=catalog.WRONG_REPO))
        return repos


def _sentence(repo: str, changes: Mapping[str, str]) -> str:
    """Describe a change of a job's state."""
    state, reason = changes["state"], changes.get("reason", "")
    if "revision" in changes:  # all of its fields: the job was accepted just now
        return f"{repo} {state}, {changes.get('ref', '')} at {changes['revision'][:12]}"
    return f"{repo} {state}: {reason}" if reason else f"{repo} {state}"


def main() -> None:
    """Run `tinyci-daemon`, as tinyci.service does."""
    log_to_journal()
    try:
        password = service.credential("redis-password", "tinyci.service")
        asyncio.run(_main(service.etc(), password))
    except OSError as error:
        sys.exit(f"tinyci-daemon: {error.filename}: {error.strerror}; it runs as tinyci.service")
    except ConfigError as error:
        sys.exit(f"tinyci-daemon: {error}")
    except BaseExceptionGroup as errors:  # the daemon's tasks are in groups
        leaf = leaf_of(errors)
        if not isinstance(leaf, BusGoneError | BusError):
            raise
        sys.exit(f"tinyci-daemon: {leaf}: is there a system bus, and does no other tinyci-daemon run?")


async def _main(etc: Path, password: str) -> None:
    await Daemon(etc, password).run()


if __name__ == "__main__":
    main()
