"""A connection to Redis for a few commands, in RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).

Importing the client library takes longer (0.15 s) than all that a push may be slowed by (0.05 s).
"""

import _socket  # the C part of socket, without the 2 ms that its enums and selectors take
import os
import time

_LINE_MAX = 1 << 16
"""Bytes of a line; the replies to the hook's commands have some dozen."""


class RespError(Exception):
    """An error reply of Redis, in its words."""


class RespConnection:
    """Commands and their replies over a Unix socket. Everything raises OSError when the peer fails or is too slow, and
    ValueError when it does not speak RESP."""

    def __init__(self) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._input = b""
        """Bytes of replies that were not taken yet."""
        self._deadline = 0.0

    def set_timeout(self, seconds: float) -> None:
        """Limit all that follows, together, to that time from now."""
        self._deadline = time.monotonic() + seconds

    def connect(self, path: str) -> None:
        self._limited().connect(path)

    def close(self) -> None:
        self._socket.close()

    def send(self, *commands: list[str]) -> None:
        data = bytearray()
        for command in commands:
            data += b"*%d\r\n" % len(command)
            for word in command:
                raw = os.fsencode(word)
                data += b"$%d\r\n%s\r\n" % (len(raw), raw)
        self._limited().sendall(data)

    def reply(self, *, nested: bool = False) -> object:
        """Read one reply: a status or an integer, an array of such, or None for no array. An error raises RespError,
        but is an element inside an array."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            error = RespError(rest.decode("utf-8", "replace"))
            if nested:
                return error
            raise error
        if kind == b"*" and not nested:
            return [self.reply(nested=True) for _ in range(int(rest))] if rest != b"-1" else None
        if kind not in (b"+", b":"):  # no command of the hook is answered with a bulk string
            raise ValueError("it does not speak as Redis does")
        return rest

    def _line(self) -> bytes:
        while b"\r\n" not in self._input:
            data = self._limited().recv(4096)
            if not data:
                raise ConnectionResetError("Redis closed the connection")
            self._input += data
            if len(self._input) > _LINE_MAX:
                raise ValueError("it does not speak as Redis does")
        line, self._input = self._input.split(b"\r\n", 1)
        return line

    def _limited(self) -> _socket.socket:
        """Return the socket with the rest of the time as its limit."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._socket.settimeout(remaining)
        return self._socket
