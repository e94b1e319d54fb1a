"""Delivers what waits for one service: each at its own pace, so that none waits for another that is slow or dead."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tinyci import catalog
from tinyci.log import fields
from tinyci.notify.digest import Digest
from tinyci.notify.message import Message
from tinyci.notify.queue import AGE, DigestQueue
from tinyci.notify.sender import NotSentError, send
from tinyci.notify.services import Service

PATIENCE = 60.0
"""Seconds that a service may take for one message."""
_LOOK = 600.0
"""Seconds between two looks for what is too old."""

log = logging.getLogger(__name__)


class Delivery:
    """`on_change`: what waits is not the same any more; it is kept before this returns. `complete` is not set while old
    events are being read, which are to be told together."""

    def __init__(
        self,
        service: Service,
        web_url: Callable[[], str],
        on_change: Callable[[], object],
        complete: asyncio.Event,
        send: Callable[[str, Message], None] = send,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.service = service
        self.queue = DigestQueue(chance)
        self.trouble = ""
        """Why the last message was not taken; empty when it was."""
        self._web_url = web_url
        self._on_change = on_change
        self._complete = complete
        self._send = send
        self._wake = asyncio.Event()
        self._stopping = False

    def stop(self) -> None:
        """Begin no further message: run() ends."""
        self._stopping = True
        self._wake.set()

    def add(self, digest: Digest) -> None:
        """Tell this some time. What is kept is not changed yet."""
        for dropped in self.queue.add(digest, _now()):
            self._drop(dropped, "there is too much that waits")
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped."""
        while True:
            await self._complete.wait()
            if self._stopping:
                return
            self._wake.clear()
            self._expire()
            if digest := self.queue.take(_now()):
                await self._deliver(digest)
                continue
            due = self.queue.next()
            wait = _LOOK if due is None else min(_LOOK, max(0.0, due - _now()))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _deliver(self, digest: Digest) -> None:
        message = Message.of(digest, self._web_url())
        sending = _in_thread(self._send, self.service.url, message)
        done, _ = await asyncio.wait((sending,), timeout=PATIENCE)
        if not done:
            # The call cannot be ended, and nothing else is sent there while it may yet do it.
            self._tell_trouble(f"it has not answered for {PATIENCE:g} s")
            await asyncio.wait((sending,))
        if error := sending.exception():
            self.queue.failed(_now())
            why = str(error) if isinstance(error, NotSentError) else f"an internal error ({type(error).__name__})"
            self._tell_trouble(why)
            self._on_change()
            return
        self.queue.sent(_now())
        if self.trouble:
            about = fields(message_id=catalog.DELIVERY_RESUMED)
            log.info("%s takes messages again", self.service.name, extra=about)
            self.trouble = ""
        self._on_change()
        about = fields(repo=digest.repo, message_id=catalog.MESSAGE_SENT)
        log.info("told %s: %s", self.service.name, message.title, extra=about)

    def _tell_trouble(self, why: str) -> None:
        if why != self.trouble:
            about = fields(message_id=catalog.DELIVERY_FAILED)
            log.warning("%s takes no message: %s; it is tried again", self.service.name, why, extra=about)
        self.trouble = why

    def _expire(self) -> None:
        old = self.queue.expire(time.time())
        for digest in old:
            self._drop(digest, f"nobody took it for {AGE / 3600:g} h")
        if old:
            self._on_change()

    def _drop(self, digest: Digest, why: str) -> None:
        about = fields(repo=digest.repo, message_id=catalog.MESSAGE_DROPPED)
        told = (self.service.name, Message.of(digest, "").title, why)
        log.error("%s is never told of '%s': %s", *told, extra=about)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _in_thread(function: Callable[..., None], *arguments: Any) -> "asyncio.Future[None]":
    """A thread of its own that nobody waits for at the end of the process, as one of a pool would be."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(None)

    def work() -> None:
        error: BaseException | None = None
        try:
            function(*arguments)
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=work, daemon=True).start()
    return future
