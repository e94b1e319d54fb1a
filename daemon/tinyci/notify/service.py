"""`tinyci-notify`: from the events to whom they are told of. Nothing of the daemon waits for it."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sdnotify import SystemdNotifier

from tinyci import __version__, catalog
from tinyci.log import fields, log_to_journal
from tinyci.model import settings, toml
from tinyci.model.repos import Repos
from tinyci.model.settings import Settings
from tinyci.model.toml import ConfigError
from tinyci.notify import sender
from tinyci.notify.delivery import Delivery
from tinyci.notify.digest import Digest
from tinyci.notify.event import UNNAMED, JobEvent
from tinyci.notify.memory import Memory, UnreadableMemoryError, number
from tinyci.notify.message import Message
from tinyci.notify.policy import NoticePolicy
from tinyci.notify.sender import NotSentError
from tinyci.notify.services import Services
from tinyci.store.eventgroup import EventGroup, EventGroupError, StreamEntry

_BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LAST_WORDS = 10.0
"""Seconds that messages on their way have when the service stops."""

log = logging.getLogger("tinyci.notify")


class Notifier:
    """One process' worth of it."""

    def __init__(self, etc: Path, state: Path, password: str, services: Services) -> None:
        self._etc = etc
        self._file = state / "memory.json"
        self._notifier = SystemdNotifier()
        self._config = _read_config(self._etc)
        self._repos = Repos.read(f"{etc}/repos.d")
        self._stream = EventGroup(self._config.redis_socket, password)
        self._complete = asyncio.Event()
        self._deliveries = [
            Delivery(each, lambda: self._config.web_url, self._on_change, self._complete) for each in services.known
        ]
        self._names = services.repos()
        memory = self._load()
        self._judgement = NoticePolicy(memory.troubled)
        self._position = memory.position
        self._judged: list[str] = []  # and not acknowledged, because they are not kept yet
        self._away = ""
        self._unkept = ""

    async def run(self) -> None:
        """Tell until SIGTERM."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            delivering = [group.create_task(each.run()) for each in self._deliveries]
            await stop.wait()
            self._notify("STOPPING=1", "STATUS=stopping; what is not told yet is told by the next start")
            reading.cancel()
            for each in self._deliveries:
                each.stop()
            self._complete.set()
            if delivering:
                await asyncio.wait(delivering, timeout=_LAST_WORDS)
            for task in delivering:
                task.cancel()
        await self._stream.close()

    # -- events ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        is_ready, tries = False, 0
        while True:
            try:
                lost = await self._stream.join(self._position)
                self._complete.clear()
                self._on_redis("")
                tries = 0
                if lost:
                    about = fields(message_id=catalog.EVENTS_LOST)
                    log.error("%d events are lost: Redis does not keep them any more", lost, extra=about)
                if not is_ready:
                    self._on_ready()
                    is_ready = True
                after = "0"
                while entries := await self._stream.read_pending(after):
                    await self._take(entries)
                    after = entries[-1][0]
                while entries := await self._stream.read_new(wait=False):
                    await self._take(entries)
                self._complete.set()
                while True:
                    await self._take(await self._stream.read_new())
            except EventGroupError as error:
                self._complete.set()  # what waits is told without what Redis has
                self._on_redis(str(error))
                # A server that comes back sends no event to those it has no connection with.
                await asyncio.sleep(_BACKOFF[min(tries, len(_BACKOFF) - 1)])
                tries += 1

    async def _take(self, entries: list[StreamEntry]) -> None:
        """Judge events, and keep what came of it before Redis may forget that we were given them."""
        if not entries:
            return
        for position, values in entries:
            if number(position) <= number(self._position):
                continue  # kept already; the acknowledgement was lost
            try:
                await self._judge(values)
            except EventGroupError:
                raise
            except Exception:  # a defect of ours must not come back with the same event at each start
                log.exception("event %s: internal error", position, extra=fields(message_id=catalog.DEFECT))
            self._position = position
        self._judged += [position for position, _ in entries]
        if self._keep():
            await self._stream.acknowledge(self._judged)
            self._judged = []
        self._show()

    async def _judge(self, values: Mapping[str, str]) -> None:
        event = JobEvent.parse(values)
        if event is None:
            return
        wanting = [each for each in self._deliveries if each.service.wants(event.repo)]
        if wanting and event.job:  # before the judgement, which is passed once: Redis may not answer here
            event = event.with_details(await self._stream.details(event.job))
        repo = self._repos.by_name.get(event.repo)
        words = (repo.notify if repo else ()) or self._config.notify_on
        if word := self._judgement.judge(event, words):
            digest = Digest.of(event, word, time.time())
            for delivery in wanting:
                delivery.add(digest)

    # -- what is kept ------------------------------------------------------------------------------------------

    def _load(self) -> Memory:
        try:
            memory = Memory.load(self._file)
            for delivery in self._deliveries:
                delivery.queue.load(memory.waiting.get(delivery.service.key, []))
        except (UnreadableMemoryError, ValueError, TypeError) as error:
            bad = self._file.with_suffix(".bad")
            about = fields(message_id=catalog.NOTIFY_MEMORY_WRONG)
            log.error("%s; it is put aside as %s, and what was to be told is lost", error, bad.name, extra=about)
            os.replace(self._file, bad)
            return Memory()
        gone = set(memory.waiting) - {delivery.service.key for delivery in self._deliveries}
        if count := sum(len(memory.waiting[key]) for key in gone):
            about = fields(message_id=catalog.NEVER_TOLD)
            log.warning("%d messages waited for URLs that are not configured any more: dropped", count, extra=about)
        return memory

    def _on_change(self) -> None:
        self._keep()
        self._show()

    def _keep(self) -> bool:
        """Whether all that we know will be known after a restart. When not, we go on: whoever restarts for it would
        tell again what was told."""
        waiting = {delivery.service.key: delivery.queue.dump() for delivery in self._deliveries}
        troubled = sorted(self._judgement.troubled)
        try:
            Memory(self._position, troubled, {key: rows for key, rows in waiting.items() if rows}).save(self._file)
        except OSError as error:
            why = f"{error.filename or self._file}: {error.strerror}"
            if why != self._unkept:
                about = fields(message_id=catalog.NOTIFY_MEMORY_WRONG)
                log.error("%s; a restart now would tell some messages again", why, extra=about)
            self._unkept = why
            return False
        self._unkept = ""
        return True

    # -- the service -------------------------------------------------------------------------------------------

    def _on_ready(self) -> None:
        about = fields(message_id=catalog.NOTIFY_READY)
        names = ", ".join(delivery.service.name for delivery in self._deliveries)
        log.info(
            "tinyci-notify %s is ready, and tells %s", __version__, names or "nobody: no URL is configured", extra=about
        )
        self._check_names()
        self._notify("READY=1")
        self._show()

    def _check_names(self) -> None:
        """Lines for repos that there are not, such as for one whose name was mistyped."""
        for name in self._names:
            if name not in self._repos.by_name and name not in self._repos.errors:
                about = fields(repo=name, message_id=catalog.WRONG_URL)
                log.warning("a URL is for the repo %s, and there is no such repo", name, extra=about)

    def _on_redis(self, error: str) -> None:
        if error and not self._away:
            about = fields(message_id=catalog.REDIS_AWAY)
            log.error("Redis does not answer (%s); events are told when it is back", error, extra=about)
        elif self._away and not error:
            log.info("Redis is back", extra=fields(message_id=catalog.REDIS_BACK))
        self._away = error
        self._show()

    def _show(self) -> None:
        """STATUS=, as systemctl(1) has it."""
        if self._away:
            self._notify(f"STATUS=Redis does not answer ({self._away}); waiting for it")
            return
        waiting = sum(len(delivery.queue) for delivery in self._deliveries)
        parts = [
            f"URLs: {len(self._deliveries)}" if self._deliveries else "nobody to tell",
            f"messages that wait: {waiting}" if waiting else "",
            self._unkept,
            *(f"{each.service.name}: {each.trouble}" for each in self._deliveries if each.trouble),
        ]
        self._notify("STATUS=" + "; ".join(filter(None, parts)))

    def _notify(self, *lines: str) -> None:
        self._notifier.notify("\n".join(lines))

    def _reload(self) -> None:
        self._notify("RELOADING=1")
        try:
            self._config = _read_config(self._etc)
        except (ConfigError, OSError) as error:
            about = fields(message_id=catalog.WRONG_CONFIG)
            log.error("%s; the configuration before is kept", error, extra=about)
        self._repos = Repos.read(f"{self._etc}/repos.d")
        self._judgement.forget_all_but([*self._repos.by_name, *self._repos.errors, UNNAMED])
        log.info("reloaded, %d repos", len(self._repos.by_name), extra=fields(message_id=catalog.RELOADED))
        self._check_names()
        self._notify("READY=1")
        self._show()


def main() -> None:
    """`tinyci-notify`, as tinyci-notify.service runs it."""
    parser = argparse.ArgumentParser(prog="tinyci-notify", description="Tells people of deploys.", allow_abbrev=False)
    parser.add_argument("--test", action="store_true", help="send one message to every URL, say how that went, and end")
    parser.add_argument("--version", action="version", version=f"tinyci {__version__}")
    arguments = parser.parse_args()
    sender.silence()
    etc = Path(os.environ.get("TINYCI_ETC", "/etc/tinyci"))
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        text = (Path(given) / "urls" if given else etc / "credentials" / "notify").read_text(encoding="utf-8")
        services = Services.parse(text, sender.host_of)
        if arguments.test:
            sys.exit(_test(services, _read_config(etc).web_url))
        log_to_journal("tinyci-notify")
        for sentence in services.wrong:
            log.error("a URL is left out, %s", sentence, extra=fields(message_id=catalog.WRONG_URL))
        if not given:
            sys.exit("tinyci-notify: it runs as tinyci-notify.service; 'tinyci-notify --test' can be run by root")
        password = (Path(given) / "redis-password").read_text(encoding="utf-8").strip()
        state = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/tinyci-notify"))
        asyncio.run(_main(etc, state, password, services))
    except UnicodeDecodeError:
        sys.exit("tinyci-notify: the credential 'urls' is not UTF-8")
    except OSError as error:
        sys.exit(f"tinyci-notify: {error.filename}: {error.strerror}")
    except ConfigError as error:
        sys.exit(f"tinyci-notify: {error}")


async def _main(etc: Path, state: Path, password: str, services: Services) -> None:
    await Notifier(etc, state, password, services).run()


def _read_config(etc: Path) -> Settings:
    file = etc / "tinyci.toml"
    text = toml.read(str(file)) if file.exists() else ""
    return settings.parse(str(file), text, os.cpu_count() or 1)


def _test(services: Services, web_url: str) -> int:
    """Send one message to each URL, and say how that went: 0 when all is well."""
    for sentence in services.wrong:
        print(f"wrong: {sentence}")
    wrong = len(services.wrong)
    for service in services.known:
        try:
            sender.send(service.url, Message.test(web_url))
            print(f"sent: {service.name}", flush=True)
        except NotSentError as error:
            print(f"not sent: {service.name}: {error}", flush=True)
            wrong += 1
    if not services.known and not wrong:
        print("there is no URL: nobody is told of anything")
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
