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
class Answer:
    """What came of a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Web:
    """One process."""

    def __init__(self, directory: Path, redis: Redis, *arguments: str) -> None:
        (directory / "redis-password").write_text("secret-web\n")
        (directory / "tinyci.toml").write_text(f'[redis]\nsocket = "{redis.socket}"\n')
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self._environment = {**os.environ, "TINYCI_ETC": str(directory), "CREDENTIALS_DIRECTORY": str(directory)}
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As systemd does when somebody connects: whoever came before waits in the socket's backlog."""
        fd = self._listening.fileno()
        shell = f'exec 3<&{fd} {fd}<&-; LISTEN_PID=$$ LISTEN_FDS=1 exec setpriv --pdeathsig KILL -- "$@"'
        command = [sys.executable, "-m", "tinyci.web.main", *self._arguments]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=(fd,), env=self._environment, stderr=subprocess.PIPE
        )

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def memory(self) -> float:
        """MiB that it has resident."""
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) / 1024

    def terminate(self) -> None:
        assert self._process
        self._process.terminate()

    def ended(self) -> tuple[int, str]:
        """Await its end; its status and what it said."""
        assert self._process and self._process.stderr
        said = self._process.stderr.read().decode()
        return self._process.wait(LIMIT), said

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(LIMIT)
            assert self._process.stderr
            self._process.stderr.close()
        self._listening.close()

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def until(self, path: str, status: int) -> Answer:
        """Ask until it is answered so."""
        end = time.monotonic() + LIMIT
        while (answer := self.get(path)).status != status:
            assert time.monotonic() < end, f"{path} is still answered with {answer.status}: {answer.text}"
        return answer


@contextmanager
def running(directory: Path, redis: Redis, *arguments: str) -> Iterator[Web]:
    web = Web(directory, redis, *arguments)
    try:
        web.start()
        yield web
    finally:
        web.close()


class Stream:
    """A follower, as a browser's EventSource is one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.headers = b""
        self.last_id = ""

    @classmethod
    async def open(cls, web: Web, path: str, last_id: str = "", limit: int = 1 << 20) -> "Stream":
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port, limit=limit)
        # Without chunks, so that what comes is the stream itself.
        again = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        writer.write(f"GET {path} HTTP/1.0\r\nHost: test\r\n{again}\r\n".encode())
        stream = cls(reader, writer)
        async with asyncio.timeout(LIMIT):
            stream.headers = await reader.readuntil(b"\r\n\r\n")
        return stream

    @property
    def status(self) -> int:
        return int(self.headers.split(b" ")[1])

    async def event(self) -> tuple[str, Any] | None:
        """The next one; None when the stream has ended."""
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
        while (event := await self.event()) is not None:
            yield event

    async def until(self, name: str) -> Any:
        """The data of the next event of that name."""
        async for found, data in self.events():
            if found == name:
                return data
        raise AssertionError(f"the stream ended without an event {name}")

    async def lines(self, count: int) -> list[tuple[int, str]]:
        """So many lines of output."""
        found: list[tuple[int, str]] = []
        while len(found) < count:
            for number, spans in await self.until("lines"):
                found.append((number, "".join(text for _, text in spans)))
        return found

    def close(self) -> None:
        self._writer.transport.abort()


class Jobs:
    """Writes to Redis what the hook and the daemon write."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add(self, job_id: str, at: float, **fields: str) -> str:
        given = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "created": stamp(at), **fields}
        self._redis.data.hset(f"tinyci:job:{job_id}", mapping=given)
        self._redis.data.zadd("tinyci:jobs", {job_id: at})
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
