"""Sending messages to one recipient at its own pace: nobody waits for another recipient that is slow or dead."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tinyci import catalog
from tinyci.log import fields
from tinyci.notify.digest import Digest
from tinyci.notify.message import Message, NotSentError
from tinyci.notify.queue import MAX_AGE, DigestQueue
from tinyci.notify.recipients import Recipient

SEND_TIMEOUT = 60.0
"""Seconds after which a message that is being sent is reported as slow."""
_EXPIRY_INTERVAL = 600.0
"""Seconds between two searches for digests that are too old."""

log = logging.getLogger(__name__)


class Delivery:
    """The queue of one recipient, and the task that empties it."""

    def __init__(
        self,
        recipient: Recipient,
        web_url: Callable[[], str],
        save: Callable[[], object],
        caught_up: asyncio.Event,
        send: Callable[[str, Message], Awaitable[None]],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`save` is called when the queue has changed. While `caught_up` is not set, old events are being read, which
        are gathered into few messages."""
        self.recipient = recipient
        self.queue = DigestQueue(jitter)
        self.error = ""
        """Why the last message was not taken; empty if it was."""
        self._web_url = web_url
        self._save = save
        self._caught_up = caught_up
        self._send = send
        self._wake = asyncio.Event()
        self._is_stopping = False

    def stop(self) -> None:
        """Begin no further message: run() ends."""
        self._is_stopping = True
        self._wake.set()

    def add(self, digest: Digest) -> None:
        """Queue a digest. The caller saves."""
        for overflow in self.queue.add(digest, _now()):
            self._log_drop(overflow, "there is too much that waits")
        self._wake.set()

    async def run(self) -> None:
        """Send until stopped."""
        while True:
            await self._caught_up.wait()
            if self._is_stopping:
                return
            self._wake.clear()
            self._expire()
            if digest := self.queue.take(_now()):
                await self._deliver(digest)
                continue
            due = self.queue.next_due()
            delay = _EXPIRY_INTERVAL if due is None else min(_EXPIRY_INTERVAL, max(0.0, due - _now()))
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    async def _deliver(self, digest: Digest) -> None:
        message = Message.of(digest, self._web_url())
        sending = asyncio.ensure_future(self._send(self.recipient.url, message))
        try:
            await asyncio.wait((sending,), timeout=SEND_TIMEOUT)
            if not sending.done():  # nothing else is sent there while it may yet succeed
                self._set_error(f"it has not answered for {SEND_TIMEOUT:g} s")
                await asyncio.wait((sending,))
        finally:
            sending.cancel()
        if error := sending.exception():
            self.queue.mark_failed(_now())
            is_expected = isinstance(error, NotSentError)
            self._set_error(str(error) if is_expected else f"an internal error ({type(error).__name__})")
            self._save()
            return
        self.queue.mark_sent(_now())
        if self.error:
            about = fields(message_id=catalog.DELIVERY_RESUMED)
            log.info("%s takes messages again", self.recipient.name, extra=about)
            self.error = ""
        self._save()
        about = fields(repo=digest.repo, message_id=catalog.MESSAGE_SENT)
        log.info("told %s: %s", self.recipient.name, message.title, extra=about)

    def _set_error(self, error: str) -> None:
        if error != self.error:
            about = fields(message_id=catalog.DELIVERY_FAILED)
            log.warning("%s takes no message: %s; it is tried again", self.recipient.name, error, extra=about)
        self.error = error

    def _expire(self) -> None:
        old = self.queue.expire(_now())
        for digest in old:
            self._log_drop(digest, f"nobody took it for {MAX_AGE / 3600:g} h")
        if old:
            self._save()

    def _log_drop(self, digest: Digest, reason: str) -> None:
        about = fields(repo=digest.repo, message_id=catalog.MESSAGE_DROPPED)
        title = Message.of(digest, "").title
        log.error("%s is never told of '%s': %s", self.recipient.name, title, reason, extra=about)


def _now() -> float:
    return asyncio.get_running_loop().time()
