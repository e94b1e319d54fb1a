"""The real tinyci-web, started as its socket unit starts it: with a listening socket as file descriptor 3."""

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import LIMIT, Redis
from tinyci.model.timestamp import stamp


@dataclass
class Response:
    """The response to a request."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WebServer:
    """A process of tinyci-web, and the socket that outlives it."""

    def __init__(self, directory: Path, redis: Redis, *arguments: str, url: str = "") -> None:
        (directory / "redis-password").write_text("secret-web\n")
        pages = f'[web]\nurl = "{url}"\n' if url else ""
        (directory / "tinyci.toml").write_text(f'[redis]\nsocket = "{redis.socket}"\n{pages}')
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self._environment = {**os.environ, "TINYCI_ETC": str(directory), "CREDENTIALS_DIRECTORY": str(directory)}
        self._arguments = arguments
        self._stderr = (directory / "stderr").open("w+b")  # no pipe: a full one would stop the server
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start as systemd does at the first connection: earlier clients wait in the socket's backlog."""
        fd = self._socket.fileno()
        shell = f'exec 3<&{fd} {fd}<&-; LISTEN_PID=$$ LISTEN_FDS=1 exec setpriv --pdeathsig KILL -- "$@"'
        command = [sys.executable, "-m", "tinyci.web.main", *self._arguments]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=(fd,), env=self._environment, stderr=self._stderr
        )

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def memory(self) -> float:
        """Resident memory in MiB."""
        match = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert match
        return int(match[1]) / 1024

    def terminate(self) -> None:
        assert self._process
        self._process.terminate()

    def wait(self) -> tuple[int, str]:
        """Wait for its end; return its status and its standard error."""
        assert self._process
        status = self._process.wait(LIMIT)
        self._stderr.seek(0)
        return status, self._stderr.read().decode()

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(LIMIT)
        self._stderr.close()
        self._socket.close()

    def get(self, path: str, method: str = "GET", **headers: str) -> Response:
        """Send one request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            reply = connection.getresponse()
            return Response(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def send(self, request: bytes) -> bytes:
        """Send one request as it is, and return the response as it is."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as connection:
            connection.sendall(request)
            response = b""
            while part := connection.recv(65536):
                response += part
        return response

    def get_until(self, path: str, status: int) -> Response:
        """Send requests until one is answered with that status."""
        end = time.monotonic() + LIMIT
        while (response := self.get(path)).status != status:
            assert time.monotonic() < end, f"{path} is still answered with {response.status}: {response.text}"
        return response


@contextmanager
def running(directory: Path, redis: Redis, *arguments: str, url: str = "") -> Iterator[WebServer]:
    web = WebServer(directory, redis, *arguments, url=url)
    try:
        web.start()
        yield web
    finally:
        web.close()


class EventStream:
    """A follower, like a browser's EventSource."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.headers = b""
        self.last_id = ""

    @classmethod
    async def open(cls, web: WebServer, path: str, last_id: str = "", limit: int = 1 << 20) -> "EventStream":
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port, limit=limit)
        # Without chunks, so that the connection carries the stream itself.
        last_event = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n{last_event}\r\n".encode())
        stream = cls(reader, writer)
        async with asyncio.timeout(LIMIT):
            stream.headers = await reader.readuntil(b"\r\n\r\n")
        return stream

    @property
    def status(self) -> int:
        return int(self.headers.split(b" ")[1])

    async def next_event(self) -> tuple[str, Any] | None:
        """The name and the data of the next event; None when the stream has ended."""
        while True:
            try:
                async with asyncio.timeout(LIMIT):
                    block = (await self._reader.readuntil(b"\n\n")).decode()
            except asyncio.IncompleteReadError as error:
                assert not error.partial
                return None
            lines = dict(line.split(": ", 1) for line in block.strip().split("\n") if not line.startswith(":"))
            self.last_id = lines.get("id", self.last_id)
            if "event" in lines:
                return lines["event"], json.loads(lines["data"])

    async def events(self) -> AsyncIterator[tuple[str, Any]]:
        while (event := await self.next_event()) is not None:
            yield event

    async def next_data(self, name: str) -> Any:
        """The data of the next event of that name."""
        async for event_name, data in self.events():
            if event_name == name:
                return data
        raise AssertionError(f"the stream ended without an event {name}")

    async def next_lines(self, count: int) -> list[tuple[int, str]]:
        """The next lines of output, at least that many, by number."""
        lines: list[tuple[int, str]] = []
        while len(lines) < count:
            for number, spans in await self.next_data("lines"):
                lines.append((number, "".join(text for _, text in spans)))
        return lines

    def close(self) -> None:
        self._writer.transport.abort()


class JobWriter:
    """Writes to Redis as the hook and the daemon do."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, job_id: str, time: float, **fields: str) -> str:
        defaults = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "created": stamp(time)}
        self._redis.data.hset(f"tinyci:job:{job_id}", mapping=defaults | fields)
        self._redis.data.zadd("tinyci:jobs", {job_id: time})
        return job_id

    def change(self, job_id: str, **fields: str) -> None:
        self._redis.data.hset(f"tinyci:job:{job_id}", mapping=fields)
        if "state" in fields:
            self._redis.data.xadd("tinyci:events", {"job": job_id, "repo": "web", **fields})

    def log(self, job_id: str, *lines: str, first: int = 1) -> None:
        pipe = self._redis.data.pipeline(transaction=False)
        for number, line in enumerate(lines, first):
            pipe.xadd(f"tinyci:log:{job_id}", {"line": line}, id=f"{number}-0")
        pipe.execute()
