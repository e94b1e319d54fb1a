"""A push that shows its build (`git push -o follow`), read as it comes."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from testhost import HOST, TestHost, Work

LIMIT = 90.0


class Follower:
    """The push, while it goes on."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._rest = b""
        self._began = time.monotonic()
        self.lines: list[str] = []
        """Lines from the server up to now."""
        self.times: list[float] = []
        """The time of each line, in seconds from the push."""

    def wait_for(self, text: str, limit: float = LIMIT) -> str:
        """Return the first line from now on that has the text in it."""
        count = len(self.lines)
        for line in self._read(limit):
            if text in line:
                return line
        raise AssertionError(f"nothing with {text!r} came: {self.lines[count:]} after {self.lines[:count]}")

    def wait(self, limit: float = LIMIT) -> int:
        """Read to the end, and return the exit status."""
        for _ in self._read(limit):
            pass
        return self._process.wait(limit)

    def _read(self, limit: float) -> Iterator[str]:
        assert self._process.stdout
        end = time.monotonic() + limit
        while True:
            while b"\n" in self._rest:
                raw, self._rest = self._rest.split(b"\n", 1)
                line = raw.decode("utf-8", "replace")
                if line.startswith("remote: "):
                    self.lines.append(line.removeprefix("remote: ").rstrip())
                    self.times.append(time.monotonic() - self._began)
                    yield self.lines[-1]
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            assert readable, f"nothing came for {limit} s after {self.lines}"
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                return
            self._rest += data

    def signal(self, number: int) -> None:
        """Send a signal to the push and its ssh, as the terminal's Ctrl-C does."""
        os.killpg(self._process.pid, number)
        self._process.wait(LIMIT)

    @property
    def jobs(self) -> list[str]:
        """Ids of the jobs that it started."""
        return [line.split()[2] for line in self.lines if line.startswith("started job ")]

    def account(self) -> str:
        """Return every line with its time."""
        return "\n".join(f"{when:7.3f} s  {line}" for when, line in zip(self.times, self.lines, strict=True))


@contextmanager
def follow(server: TestHost, work: Work, *arguments: str) -> Iterator[Follower]:
    """Push with `-o follow`; nothing of it is left afterwards."""
    # Ctrl-C ends it, also where a shell started these tests with `&`, which has them ignore it.
    command = ["env", "--default-signal=INT", HOST, "push", server.name, str(work.path), work.repo]
    command += ["--force", "--push-option=follow", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield Follower(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout
        process.stdout.close()
