"""Real servers in a directory of the test: children of this process, which the kernel ends with it."""

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import redis

TREE = Path(__file__).parents[2]
ROLE = TREE / "ansible" / "roles" / "redis"
LIMIT = 10.0
"""Seconds that any server may take for anything."""
INTERRUPTIBLE = ("env", "--default-signal=INT")
"""Runs a command that Ctrl-C ends. A shell that starts the tests with `&` has them ignore SIGINT, and children inherit
that: a program that is started so rightly goes on."""


class Server:
    """One process that is ready when it prints a certain text."""

    def __init__(self, command: Sequence[str], ready: bytes) -> None:
        self._command = command
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", "--", *self._command]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._await_ready()

    def _await_ready(self) -> None:
        process, output = self._running(), b""
        assert process.stdout
        deadline = time.monotonic() + LIMIT
        while self._ready not in output:
            readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(process.stdout.fileno(), 4096) if readable else b""
            assert data, f"{self._command[0]} did not become ready: {output.decode()}"
            output += data

    def kill(self) -> None:
        """End it at once, as a crash would."""
        process, self._process = self._running(), None
        process.kill()
        process.wait(LIMIT)
        assert process.stdout
        process.stdout.close()

    def pause(self) -> None:
        """Stop the process: it keeps its sockets and answers nothing."""
        os.kill(self._running().pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._running().pid, os.WSTOPPED)

    def resume(self) -> None:
        os.kill(self._running().pid, signal.SIGCONT)

    def close(self) -> None:
        if self._process:
            self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process, f"{self._command[0]} does not run"
        return self._process


class Redis(Server):
    """A Redis with the configuration and the users of the role `redis`; user NAME has the password `secret-NAME`."""

    def __init__(self, directory: Path) -> None:
        self.socket = str(directory / "redis.sock")
        places = {"/run/redis-tinyci": directory, "/etc/redis": directory, "/var/lib/redis-tinyci": directory}
        config = (ROLE / "files" / "redis-tinyci.conf").read_text()
        for place, here in places.items():
            config = config.replace(place, str(here))
        (directory / "redis.conf").write_text(config)
        users = (ROLE / "templates" / "users-tinyci.acl.j2").read_text()
        users = re.sub(r"#\{\{ redis_hashes\.(\w+) }}", r">secret-\1", users)
        (directory / "users-tinyci.acl").write_text(f"{users.rstrip()}\nuser tests on nopass ~* &* +@all\n")
        super().__init__(["redis-server", str(directory / "redis.conf")], ready=b"now ready to accept connections")
        self.data = redis.Redis(
            unix_socket_path=self.socket,
            username="tests",
            password="",
            decode_responses=True,
            encoding_errors="surrogateescape",
            socket_timeout=LIMIT,
        )
        """A client of a user who may do everything."""

    def kill(self) -> None:
        self.data.close()
        super().kill()

    async def wait_for_blocked_client(self) -> None:
        """Wait until a client waits in a blocking command."""
        while not self.data.info("clients")["blocked_clients"]:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0)


class LossyProxy:
    """A proxy to Redis that can lose one reply, as when a connection breaks at the wrong moment."""

    def __init__(self, path: Path, redis: Redis) -> None:
        self.socket = str(path)
        self.lose = b""
        """The reply to the next request with these bytes is lost, and the connection with it."""
        self._redis = redis

    async def __aenter__(self) -> "LossyProxy":
        self._server = await asyncio.start_unix_server(self._serve, self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_unix_connection(self._redis.socket)
        while request := await reader.read(1 << 20):
            redis_writer.write(request)
            reply = await redis_reader.read(1 << 20)
            if self.lose and self.lose in request:
                self.lose = b""
                break
            writer.write(reply)
        redis_writer.close()
        writer.close()


class MessageBus(Server):
    """A dbus-daemon on which our uid may do everything."""

    CONFIG = """
        <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
         "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
        <busconfig>
          <type>session</type>
          <listen>unix:path={path}</listen>
          <auth>EXTERNAL</auth>
          <policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy>
        </busconfig>
    """

    def __init__(self, directory: Path, *as_user: str) -> None:
        """`as_whom`: a command that runs its arguments as another user, such as setpriv(1)."""
        self.path = str(directory / "bus")
        self.address = f"unix:path={self.path}"
        config = directory / "bus.conf"
        config.write_text(self.CONFIG.format(path=self.path).strip())
        command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--nosyslog"]
        super().__init__([*as_user, *command, "--print-address=1"], ready=b"guid=")


class Peer:
    """A listening socket that serves each connection with a function of the test, in a thread of its own."""

    def __init__(self, path: Path, talk: Callable[[socket.socket], object]) -> None:
        self.address = f"unix:path={path}"
        self._talk = talk
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):  # it was closed, by us or by them
            while True:
                connection, _ = self._listening.accept()
                connection.settimeout(LIMIT)
                self._connections.append(connection)
                with suppress(OSError):
                    self._talk(connection)

    def close(self) -> None:
        for each in (self._listening, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
