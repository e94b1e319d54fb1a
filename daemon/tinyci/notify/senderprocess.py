"""The process that sends: it lives while there is something to send, since Apprise takes as much memory as all else.

A request is one JSON object on its standard input, the answer one on its standard output (sender.py).
"""

import asyncio
import json
import subprocess
import sys
from typing import Any

from tinyci.notify.message import Message, NotSentError
from tinyci.notify.recipients import Recipient, Recipients

_COMMAND = (sys.executable, "-P", "-m", "tinyci.notify.sender")
_SEND_LIMIT = 600.0
"""Seconds after which a message that is being sent is given up; until then it may yet succeed."""
_READ_LIMIT = 60.0


def read_recipients(text: str) -> Recipients:
    """Return the recipients that a credential names. Raises OSError."""
    request = json.dumps({"recipients": text}).encode()
    try:
        process = subprocess.run(_COMMAND, input=request, stdout=subprocess.PIPE, timeout=_READ_LIMIT, check=False)
        answer = json.loads(process.stdout)
        valid = [Recipient(name, key, url, frozenset(repos)) for name, key, url, repos in answer["valid"]]
        return Recipients(valid, list(answer["errors"]))
    except (ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        raise OSError(0, "Apprise does not tell which URLs are right") from None


async def send(url: str, message: Message) -> None:
    """Send the message, and return when the service has taken it. Raises NotSentError, and OSError when there can be
    no process."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_SEND_LIMIT):
            output, _ = await process.communicate(json.dumps({"url": url, "message": message}).encode())
    except TimeoutError:
        raise NotSentError(f"it has not answered for {_SEND_LIMIT / 60:g} min") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if clause := _clause(output):
        raise NotSentError(clause)


def _clause(output: bytes) -> str:
    """Return the reason of a failure; empty for a success."""
    try:
        answer: Any = json.loads(output)
        return str(answer["error"])
    except (ValueError, KeyError, TypeError):
        return "the process that sends has failed"
