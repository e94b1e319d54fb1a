"""The process tinyci-notify: from the events of jobs to messages. Nothing of the daemon waits for it."""

import asyncio
import logging
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tinyci import __version__, catalog
from tinyci.log import fields
from tinyci.model.repos import Repos
from tinyci.model.toml import ConfigError
from tinyci.notify.delivery import Delivery
from tinyci.notify.digest import Digest
from tinyci.notify.event import UNKNOWN_REPO, JobEvent
from tinyci.notify.groupreader import GroupReader
from tinyci.notify.memory import Memory, MemoryFile
from tinyci.notify.policy import NoticePolicy
from tinyci.notify.recipients import Recipients
from tinyci.notify.senderprocess import SenderProcess
from tinyci.runtime.service import Notifier, load_settings, on_signal, stop_event
from tinyci.store.eventgroup import EventGroup

_STOP_TIMEOUT = 10.0
"""Seconds that messages on their way have when the service stops."""

log = logging.getLogger("tinyci.notify")


class NotifyService:
    """The process; the subscriber of its GroupReader."""

    def __init__(self, etc: Path, state_directory: Path, password: str, recipients: Recipients) -> None:
        self._etc = etc
        self._notifier = Notifier()
        self._settings = load_settings(etc)
        self._repos = self._read_repos()
        self._restricted_repos = recipients.repos()
        self._redis_error = ""
        caught_up = asyncio.Event()
        self._caught_up = caught_up
        self._sender = SenderProcess()
        self._deliveries = [
            Delivery(each, lambda: self._settings.web_url, self.save, caught_up, self._sender.send)
            for each in recipients.valid
        ]
        self._file = MemoryFile(state_directory / "memory.json")
        memory = self._file.read_or_set_aside()
        self._restore_queues(memory)
        self._policy = NoticePolicy(memory.failing_repos)
        self._group = EventGroup(self._settings.redis_socket, password)
        self._reader = GroupReader(self._group, memory.position, caught_up)

    async def run(self) -> None:
        """Notify until SIGTERM."""
        stop = stop_event()
        on_signal(self._reload, signal.SIGHUP)
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._reader.run(self))
            deliveries = [group.create_task(each.run()) for each in self._deliveries]
            await stop.wait()
            self._notifier.notify("STOPPING=1", "STATUS=stopping; what is not told yet is told by the next start")
            reader.cancel()
            for each in self._deliveries:
                each.stop()
            self._caught_up.set()
            if deliveries:
                await asyncio.wait(deliveries, timeout=_STOP_TIMEOUT)
            for task in deliveries:
                task.cancel()
        await self._sender.close()
        await self._group.close()

    # -- events ------------------------------------------------------------------------------------------------

    async def on_event(self, values: Mapping[str, str]) -> None:
        """Add the event to the queue of each recipient that is to know of it."""
        event = JobEvent.parse(values)
        if event is None:
            return
        deliveries = [each for each in self._deliveries if each.recipient.wants(event.repo)]
        if deliveries and event.job:  # before the judgement, which is passed once: Redis may not answer here
            event = event.with_details(await self._group.details(event.job))
        repo = self._repos.by_name.get(event.repo)
        notices = (repo.notify if repo else ()) or self._settings.notify_on
        if notice := self._policy.judge(event, notices):
            digest = Digest.of(event, notice, time.time())
            for delivery in deliveries:
                delivery.add(digest)

    def on_first_answer(self) -> None:
        """Report to systemd that the service is ready."""
        about = fields(message_id=catalog.NOTIFY_READY)
        names = ", ".join(delivery.recipient.name for delivery in self._deliveries)
        log.info(
            "tinyci-notify %s is ready, and tells %s", __version__, names or "nobody: no URL is configured", extra=about
        )
        self._check_names()
        self._notifier.notify("READY=1")
        self._show_status()

    def on_redis(self, error: str) -> None:
        """Log the beginning and the end of an outage; `error` is empty if Redis answers."""
        if error and not self._redis_error:
            about = fields(message_id=catalog.REDIS_AWAY)
            log.error("Redis does not answer (%s); events are told when it is back", error, extra=about)
        elif self._redis_error and not error:
            log.info("Redis is back", extra=fields(message_id=catalog.REDIS_BACK))
        self._redis_error = error
        self._show_status()

    # -- memory ------------------------------------------------------------------------------------------------

    def save(self) -> bool:
        """Save everything that a restart must not lose, and show it. Return False if it could not be saved."""
        digests = {delivery.recipient.key: delivery.queue.digests() for delivery in self._deliveries if delivery.queue}
        is_saved = self._file.save(Memory(self._reader.position, sorted(self._policy.failing_repos), digests))
        self._show_status()
        return is_saved

    def _restore_queues(self, memory: Memory) -> None:
        deliveries = {delivery.recipient.key: delivery for delivery in self._deliveries}
        dropped_count = 0
        for key, digests in memory.digests.items():
            if key in deliveries:
                deliveries[key].queue.restore(digests, time.monotonic(), time.time())
            else:
                dropped_count += len(digests)
        if dropped_count:
            about = fields(message_id=catalog.MESSAGE_DROPPED)
            log.warning(
                "%d messages waited for URLs that are not configured any more: dropped", dropped_count, extra=about
            )

    # -- the unit ----------------------------------------------------------------------------------------------

    def _show_status(self) -> None:
        """Set the status that `systemctl status` prints (sd_notify(3), STATUS=)."""
        if self._redis_error:
            self._notifier.notify(f"STATUS=Redis does not answer ({self._redis_error}); waiting for it")
            return
        count = sum(len(delivery.queue) for delivery in self._deliveries)
        parts = [
            f"URLs: {len(self._deliveries)}" if self._deliveries else "nobody to tell",
            f"messages that wait: {count}" if count else "",
            self._file.error,
            *(f"{each.recipient.name}: {each.error}" for each in self._deliveries if each.error),
        ]
        self._notifier.notify("STATUS=" + "; ".join(filter(None, parts)))

    def _reload(self) -> None:
        self._notifier.notify("RELOADING=1")
        try:
            self._settings = load_settings(self._etc)
        except (ConfigError, OSError) as error:
            about = fields(message_id=catalog.WRONG_CONFIG)
            log.error("%s; the configuration before is kept", error, extra=about)
        self._repos = self._read_repos()
        self._policy.keep_only([*self._repos.by_name, *self._repos.errors, UNKNOWN_REPO])
        log.info("reloaded, %d repos", len(self._repos.by_name), extra=fields(message_id=catalog.RELOADED))
        self._check_names()
        self._notifier.notify("READY=1")
        self._show_status()

    def _read_repos(self) -> Repos:
        return Repos.read(f"{self._etc}/repos.d")

    def _check_names(self) -> None:
        """Warn of URLs for a repo that does not exist, such as one whose name was mistyped."""
        for name in self._restricted_repos:
            if name not in self._repos.by_name and name not in self._repos.errors:
                about = fields(repo=name, message_id=catalog.WRONG_URL)
                log.warning("a URL is for the repo %s, and there is no such repo", name, extra=about)
