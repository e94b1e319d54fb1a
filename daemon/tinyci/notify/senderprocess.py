"""The process that sends (sender.py): Apprise takes as much memory as all else, so it lives while there is something
to send, and a little longer. A request is a line of JSON on its standard input, the answer one on its standard output.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from itertools import count
from typing import Any

from tinyci.notify.message import Message, NotSentError
from tinyci.notify.recipients import Recipient, Recipients

_COMMAND = (sys.executable, "-P", "-m", "tinyci.notify.sender")
_SEND_LIMIT = 600.0
"""Seconds after which a message that is being sent is given up; until then it may yet succeed."""
_READ_LIMIT = 60.0
_LINGER = 10.0
"""Seconds that the process waits for another message."""
_LINE_MAX = 1 << 20

Answer = Mapping[str, Any]


class _Process:
    """One process, and those who wait for its answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.waiting: dict[int, asyncio.Future[Answer]] = {}
        self.reader = asyncio.ensure_future(self._read())
        self._process = process

    @property
    def has_ended(self) -> bool:
        return self.reader.done()

    def ask(self, number: int, request: Mapping[str, Any]) -> "asyncio.Future[Answer]":
        future = self.waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"number": number, **request}).encode() + b"\n")
        return future

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def _read(self) -> None:
        assert self._process.stdout
        try:
            async for line in self._process.stdout:
                answer = json.loads(line)
                future = self.waiting.get(answer["number"])
                if future and not future.done():
                    future.set_result(answer)
        except (ValueError, KeyError, TypeError):
            self.kill()
        await self._process.wait()
        for future in self.waiting.values():
            if not future.done():
                future.set_result({"error": "the process that sends has failed"})


class SenderProcess:
    """Sends messages, any number at a time, through one process."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._lock = asyncio.Lock()
        self._numbers = count(1)
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, url: str, message: Message) -> None:
        """Send the message, and return when the service has taken it. Raises NotSentError, and OSError when there can
        be no process."""
        if self._timer:
            self._timer.cancel()
        number = next(self._numbers)
        async with self._lock:
            if not self._process or self._process.has_ended:
                self._process = await _start()
            process = self._process
            future = process.ask(number, {"url": url, "message": message})
        try:
            async with asyncio.timeout(_SEND_LIMIT):
                answer = await future
        except TimeoutError:
            raise NotSentError(f"it has not answered for {_SEND_LIMIT / 60:g} min") from None
        finally:
            del process.waiting[number]
            if process is self._process and not process.waiting:
                self._timer = asyncio.get_running_loop().call_later(_LINGER, self._end_if_idle)
        if error := str(answer.get("error", "")):
            raise NotSentError(error)

    async def close(self) -> None:
        """End the process, whatever it is sending."""
        if self._timer:
            self._timer.cancel()
        if self._process:
            self._process.kill()
            await asyncio.wait((self._process.reader,))

    def _end_if_idle(self) -> None:
        if self._process and not self._process.waiting:
            self._process.kill()
            self._process = None


async def _start() -> _Process:
    return _Process(
        await asyncio.create_subprocess_exec(
            *_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, limit=_LINE_MAX
        )
    )


def read_recipients(text: str) -> Recipients:
    """Return the recipients that a credential names. Raises OSError."""
    request = json.dumps({"number": 0, "recipients": text}).encode() + b"\n"
    try:
        process = subprocess.run(_COMMAND, input=request, stdout=subprocess.PIPE, timeout=_READ_LIMIT, check=False)
        answer = json.loads(process.stdout)
        valid = [Recipient(name, key, url, frozenset(repos)) for name, key, url, repos in answer["valid"]]
        return Recipients(valid, list(answer["errors"]))
    except (ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        raise OSError(0, "Apprise does not tell which URLs are right") from None
