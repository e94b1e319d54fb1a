"""The queue of new jobs: Redis, or the spool while Redis does not take them."""

import os
import time

from tinyci.hook import pusher
from tinyci.hook.resp import RespConnection, RespError
from tinyci.model import places, timestamp, toml
from tinyci.model.toml import TomlTable
from tinyci.runtime import clock
from tinyci.store import keys

PATIENCE = 2.0
"""Seconds that Redis has to take a job."""


class JobQueue:
    """Adds jobs, and tells the pusher what became of each."""

    def __init__(self, etc: str) -> None:
        self._etc = etc
        self._connection = RespConnection()
        self._is_logged_in = False
        self._failure = ""
        """The reason why Redis takes no more jobs of this push; empty while it may."""
        self._count = 0
        """Files that went to the spool."""
        self.started: list[tuple[str, str, str]] = []
        """Id, repo and ref of the jobs in Redis."""
        self.spooled: list[str] = []
        """Ids of the jobs in the spool."""

    def __enter__(self) -> "JobQueue":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, repo: str, ref: str, revision: str, previous: str) -> None:
        """Add one job, to the spool if not to Redis."""
        with open("/proc/sys/kernel/random/uuid", encoding="ascii") as file:  # a fifth of what importing uuid takes
            job_id = file.read().strip()
        now = time.time_ns() // 1000  # microseconds
        fields = {
            "repo": repo,
            "ref": ref,
            "revision": revision,
            "previous": previous,
            "pusher": pusher.name(),
            "created": timestamp.stamp(now / 1_000_000),
            "moment": clock.moment_text(),
        }
        if self._try_redis(job_id, fields):
            self.started.append((job_id, repo, ref))
            pusher.say(f"started job {job_id} for {repo}.")
        elif self._try_spool(job_id, fields, now):
            self.spooled.append(job_id)
            pusher.say(f"kept job {job_id} for {repo}: Redis does not take it now ({self._failure}).")

    def _try_redis(self, job_id: str, fields: dict[str, str]) -> bool:
        if self._failure:  # the next ref of this push does not wait for the same dead Redis again
            return False
        try:
            self._enqueue(job_id, fields)
        except TimeoutError:
            self._failure = f"no answer within {PATIENCE:g} s"
        except Exception as error:  # whatever answers there, or stands in the configuration: the push is kept
            self._failure = str(error) or type(error).__name__
        return not self._failure

    def _try_spool(self, job_id: str, fields: dict[str, str], now: int) -> bool:
        try:
            self._spool(job_id, fields, now)
        except OSError as error:
            pusher.say(
                f"no job for {fields['repo']}: Redis does not take it ({self._failure}), nor does the spool ({error})."
            )
            repo = fields["repo"]
            if groups := pusher.late_groups():
                pusher.say(
                    f"your SSH connection is older than groups of its user ({', '.join(groups)}): end it with "
                    f"'ssh -O exit SERVER'. The push itself is done; 'tinyci run {repo}' on the server makes its job."
                )
            else:
                pusher.say(
                    "the push itself is done: ask the admin to look at tinyci's Redis and its spool; then "
                    f"'tinyci run {repo}' on the server makes its job."
                )
            return False
        return True

    def _enqueue(self, job_id: str, fields: dict[str, str]) -> None:
        """Write hash and queue at once (MULTI). Raises OSError or RespError, and then nothing was added, unless
        the reply to EXEC was lost: the daemon therefore skips a spooled job that Redis knows."""
        hash_fields = [text for pair in fields.items() for text in pair]
        self._connection.set_timeout(PATIENCE)
        if not self._is_logged_in:
            self._log_in()
        writes = (["HSET", keys.of_new(job_id), *hash_fields], ["LPUSH", keys.QUEUE, job_id])
        self._connection.send(["MULTI"], *writes, ["EXEC"])
        for _ in ("MULTI", *writes):
            self._connection.reply()
        results = self._connection.reply()
        if not isinstance(results, list) or len(results) != len(writes):
            raise RespError("Redis aborted the transaction")
        for result in results:
            if isinstance(result, RespError):
                raise result

    def _log_in(self) -> None:
        file = os.path.join(self._etc, "tinyci.toml")
        text = toml.read(file) if os.path.exists(file) else ""
        path = places.redis_socket(TomlTable.load(file, text).table("redis"))
        with open(os.path.join(self._etc, "credentials", "redis-hook"), encoding="utf-8") as credential:
            password = credential.read().strip()
        self._connection.connect(path)
        self._connection.send(["AUTH", "hook", password])
        self._connection.reply()
        self._is_logged_in = True

    def _spool(self, job_id: str, fields: dict[str, str], now: int) -> None:
        """Write a file that the daemon takes in when Redis is back. Names sort in push order. Raises OSError."""
        import json  # only on this path

        directory = os.environ.get("TINYCI_SPOOL", places.SPOOL)
        self._count += 1
        path = os.path.join(directory, f"{now:016}-{self._count:04}-{job_id}.json")
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(fd, 0o644)  # the daemon is another user; the directory is closed to everybody else
            json.dump({"id": job_id, **fields}, file)
            file.flush()
            os.fsync(file.fileno())
            os.rename(path + ".new", path)
            # The directory, which only the daemon may read, cannot be synced; ext4, xfs and btrfs keep a file's new
            # name with the file.
            os.fsync(file.fileno())
