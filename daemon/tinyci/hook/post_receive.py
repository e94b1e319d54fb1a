"""The post-receive hook: one job in Redis for each updated ref that a repo deploys.

Shared by all repositories through core.hooksPath. Reads `OLD NEW REF` lines (githooks(5)), never refuses a push,
and always exits 0: the refs are updated by now, and an error here would only make the pusher doubt that.

It speaks to Redis over the socket itself, since importing the client library takes longer (0.15 s) than all that a
push may be slowed by (0.05 s).
"""

import os
import socket
import sys
import time
from collections.abc import Collection
from contextlib import suppress

from tinyci.hook import commit
from tinyci.model import repo, settings, toml
from tinyci.model.toml import ConfigError

PATIENCE = 2.0  # seconds that Redis has to take a job


class RedisRefusedError(Exception):
    """Redis answered, and the answer was no."""


def main() -> None:
    """The hook, run by git in the bare repository."""
    # An admin's or a test's other places; git's own environment of a push cannot set them over SSH.
    etc = os.environ.get("TINYCI_ETC", "/etc/tinyci")
    git_dir = os.path.realpath(os.environ.get("GIT_DIR", "."))
    repos, errors = repos_of(os.path.join(etc, "repos.d"), git_dir)
    if not repos:
        for error in errors:
            say(error)
        say(f"no job: no file in {etc}/repos.d names the repository {git_dir}.")
        return
    asked = options()
    with JobQueue(etc) as queue:
        for line in sys.stdin.buffer:
            old, new, ref = os.fsdecode(line.rstrip(b"\n")).split(" ", 2)
            for each in repos:
                if why := no_job(each, new, ref, git_dir, asked):
                    say(f"no job for {each.name}: {why}.")
                else:
                    queue.add(each.name, ref, new, old)
    if "follow" in asked:
        follow(queue)


def no_job(each: repo.Repo, new: str, ref: str, git_dir: str, asked: Collection[str]) -> str:
    """Why a repo is not deployed for this ref; empty when it is."""
    if not new.strip("0"):
        return f"{ref} was deleted"
    if not each.deploys(ref):
        return f"it deploys {' '.join(each.refs)}, not {ref}"
    if "skip" in asked:
        return f"the push asks for none ('tinyci run {each.name}' on the server makes one)"
    if word := commit.skip_word(commit.message(git_dir, new)):
        return f"the commit's message says {word} ('tinyci run {each.name}' on the server makes one)"
    return ""


def options() -> frozenset[str]:
    """What the pusher asks for with `git push -o`. Of what is not known here the pusher is told."""
    count = int(os.environ.get("GIT_PUSH_OPTION_COUNT", "0"))
    given = [os.environ.get(f"GIT_PUSH_OPTION_{number}", "") for number in range(count)]
    for each in given:
        if each not in ("follow", "skip"):
            say(f"there is no push option {each!r}: expected follow or skip; the push goes on without it.")
    return frozenset(given)


def follow(queue: "JobQueue") -> None:
    """Show the pusher the jobs that were started, in turn, until they have ended."""
    for job in queue.kept:
        say(f"job {job} cannot be followed before Redis has it; then 'tinyci log -f {job}' on the server shows it.")
    if queue.started:
        from tinyci.cli import pushfollow  # three times what all the rest takes

        pushfollow.follow(queue.started)


def repos_of(directory: str, git_dir: str) -> tuple[list[repo.Repo], list[str]]:
    """The repos deployed from the repository at git_dir, and what is wrong with files that cannot be read."""
    found, errors = [], []
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".toml"))
    except OSError as error:
        return [], [f"{directory}: {error.strerror}."]
    for name in names:
        path = os.path.join(directory, name)
        try:
            one = repo.parse(path, toml.read(path))
            if os.path.realpath(one.repository) == git_dir:
                found.append(one)
        except (ConfigError, OSError) as error:
            errors.append(f"{error}.")
    return found, errors


class JobQueue:
    """Jobs into Redis, or into the spool when Redis does not take them."""

    def __init__(self, etc: str) -> None:
        self._etc = etc
        self._connection: socket.socket | None = None
        self._replies = b""
        self._deadline = 0.0
        self._broken = ""
        self._count = 0
        self.started: list[tuple[str, str, str]] = []
        """Id, repo and ref of what Redis took."""
        self.kept: list[str] = []
        """Ids of what the spool took."""

    def __enter__(self) -> "JobQueue":
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()

    def add(self, name: str, ref: str, new: str, old: str) -> None:
        with open("/proc/sys/kernel/random/uuid", encoding="ascii") as file:  # a fifth of what importing uuid takes
            job = file.read().strip()
        now = time.time_ns() // 1000
        created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000)) + f".{now % 1_000_000:06}Z"
        fields = {
            "repo": name,
            "ref": ref,
            "revision": new,
            "previous": old,
            "pusher": pusher(),
            "created": created,
        }
        if not self._broken:  # the next ref of this push does not wait for the same dead Redis again
            try:
                self._enqueue(job, fields, now)
            except TimeoutError:
                self._broken = f"no answer within {PATIENCE:g} s"
            except Exception as error:  # whatever answers there, or stands in the configuration: the push is kept
                self._broken = str(error) or type(error).__name__
            else:
                say(f"started job {job} for {name}.")
                self.started.append((job, name, ref))
                return
        try:
            self._spool(job, fields, now)
            say(f"kept job {job} for {name}: Redis does not take it now ({self._broken}).")
            self.kept.append(job)
        except OSError as error:
            say(f"no job for {name}: Redis does not take it ({self._broken}), nor does the spool ({error}).")
            say("the push itself is done: ask the admin to look at tinyci's Redis and its spool, and push again then.")

    def _enqueue(self, job: str, fields: dict[str, str], now: int) -> None:
        """Hash, index and queue at once (MULTI). Raises OSError or Refused, and then nothing was added, unless the
        reply to EXEC was lost: the daemon therefore skips a spooled job that Redis knows."""
        hash_fields = [text for pair in fields.items() for text in pair]
        self._deadline = time.monotonic() + PATIENCE
        self._connect()
        self._send(
            ["MULTI"],
            ["HSET", f"tinyci:job:{job}", *hash_fields],
            ["ZADD", "tinyci:jobs", str(now / 1_000_000), job],
            ["LPUSH", "tinyci:queue", job],
            ["EXEC"],
        )
        for _ in range(4):
            self._reply()
        done = self._reply()
        if not isinstance(done, list):
            raise RedisRefusedError("Redis aborted the transaction")
        for part in done:
            if isinstance(part, RedisRefusedError):
                raise part

    def _connect(self) -> None:
        if self._connection:
            return
        path = os.path.join(self._etc, "tinyci.toml")
        text = toml.read(path) if os.path.exists(path) else ""
        place = settings.parse(path, text, cpus=1).redis_socket
        with open(os.path.join(self._etc, "credentials", "redis-hook"), encoding="utf-8") as file:
            password = file.read().strip()
        connection = socket.socket(socket.AF_UNIX)
        self._connection = connection
        self._in_time().connect(place)
        self._send(["AUTH", "hook", password])
        self._reply()

    def _in_time(self) -> socket.socket:
        """The connection, with what is left of the time as its limit."""
        assert self._connection
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection

    def _send(self, *commands: list[str]) -> None:
        out = bytearray()
        for command in commands:
            out += b"*%d\r\n" % len(command)
            for word in command:
                raw = os.fsencode(word)
                out += b"$%d\r\n%s\r\n" % (len(raw), raw)
        self._in_time().sendall(out)

    def _reply(self, nested: bool = False) -> object:
        """One reply (RESP2). An error raises, except inside an array, where it is an element."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            refused = RedisRefusedError(rest.decode("utf-8", "replace"))
            if nested:
                return refused
            raise refused
        if kind == b"*" and rest != b"-1":
            return [self._reply(nested=True) for _ in range(int(rest))]
        return rest  # status or integer: nothing that is asked here answers with a bulk string

    def _line(self) -> bytes:
        while b"\r\n" not in self._replies:
            data = self._in_time().recv(4096)
            if not data:
                raise ConnectionResetError("Redis closed the connection")
            self._replies += data
        line, self._replies = self._replies.split(b"\r\n", 1)
        return line

    def _spool(self, job: str, fields: dict[str, str], now: int) -> None:
        """A file that the daemon takes in when Redis is back; names sort in push order."""
        import json  # only on this path

        directory = os.environ.get("TINYCI_SPOOL", settings.SPOOL)
        self._count += 1
        path = os.path.join(directory, f"{now:016}-{self._count:04}-{job}.json")
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(fd, 0o644)  # the daemon is another user; the directory is closed to everybody else
            json.dump({"id": job, **fields}, file)
            file.flush()
            os.fsync(fd)
        os.rename(path + ".new", path)


def pusher() -> str:
    """Who pushed, as far as is known: what the SSH key's entry says, or the account that runs git."""
    named = os.environ.get("TINYCI_PUSHER", "")
    if named:
        return named
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def say(sentence: str) -> None:
    """One line for the pusher, who may be gone: the jobs of the other refs are made all the same."""
    with suppress(OSError):
        sys.stdout.buffer.write(os.fsencode(sentence) + b"\n")
        sys.stdout.buffer.flush()
