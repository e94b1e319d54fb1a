"""A booted test host: everything that a person with a shell on it can do, and a person who pushes."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinyci.model.state import FINAL

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
HOST = str(HERE / "host")

REDIS = (
    "redis-cli -s /run/redis-tinyci/redis.sock --no-auth-warning --user daemon "
    '--pass "$(cat /etc/tinyci/credentials/redis-daemon)"'
)


class HostError(Exception):
    """A command on the host failed that should succeed."""


@dataclass
class CommandResult:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Push:
    """The output of a push, and the ids of the jobs that it started, or that were kept for later, in order."""

    text: str
    jobs: list[str]

    @property
    def job(self) -> str:
        assert len(self.jobs) == 1, self.text
        return self.jobs[0]


class TestHost:
    """A host that is up."""

    __test__ = False  # no test of pytest's, for all its name

    def __init__(self, name: str) -> None:
        self.name = name

    # -- a shell on it -----------------------------------------------------------------------------------------

    def run(self, script: str, user: str = "root", limit: float = 120, stdin: str = "") -> CommandResult:
        """Run a shell script on the host as that user, whatever its status."""
        # Not runuser or su: those open a session, and nobody is to be logged in.
        setpriv = 'exec setpriv --reuid "$0" --regid "$(id -g "$0")" --init-groups -- "$@"'
        become = [] if user == "root" else ["sh", "-c", setpriv, user]
        command = [HOST, "exec", self.name, "--", *become, "bash", "-c", script]
        result = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=limit, check=False)
        out, err = (text.decode("utf-8", "replace") for text in (result.stdout, result.stderr))
        return CommandResult(result.returncode, out, err)

    def sh(self, script: str, user: str = "root", limit: float = 120, stdin: str = "") -> str:
        """Run a shell script that must succeed, and return what it printed on stdout."""
        result = self.run(script, user, limit, stdin)
        if result.status:
            raise HostError(f"{script}\nended with status {result.status}:\n{result.text}")
        return result.out

    def as_manager(self, user: str, script: str) -> str:
        """Run a script as that user with the environment of a login, so that `systemctl --user` and podman work."""
        if user == "root":
            return self.sh(script)
        return self.sh(
            f"cd / && export XDG_RUNTIME_DIR=/run/user/$(id -u) HOME=~{user} && "
            f"export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus && {script}",
            user,
        )

    def fifo(self, path: str) -> None:
        """Make a named pipe for everyone: a build waits in it (`timeout 60 cat PATH`) until a test writes."""
        self.sh(f"rm -f {path}; mkfifo -m 666 {path}")

    def systemctl(self, user: str, arguments: str) -> CommandResult:
        return self.run(f"systemctl {'' if user == 'root' else f'--user -M {user}@'} {arguments}")

    def show(self, user: str, unit: str, prop: str) -> str:
        return self.systemctl(user, f"show -P {prop} {unit}").out.strip()

    def get(self, url: str) -> str:
        """Return what a web server on the host answers."""
        return self.sh(f"busybox wget -q -T 5 -O - {url}")

    @contextmanager
    def repo_file(self, repo: str, **keys: str) -> Iterator[None]:
        """Give some keys of the repo's file other values (TOML) while the block runs."""
        file = f"/etc/tinyci/repos.d/{repo}.toml"
        original = self.sh(f"cat {file}")
        lines = [line for line in original.splitlines() if line.split(" ")[0] not in keys]
        text = "\n".join([*lines, *(f"{key} = {value}" for key, value in keys.items())])
        self.sh(f"cat >{file}; systemctl reload tinyci", stdin=text)
        try:
            yield
        finally:
            self.sh(f"cat >{file}; systemctl reload tinyci", stdin=original)

    @contextmanager
    def config_file(self, text: str) -> Iterator[None]:
        """Add text to tinyci.toml while the block runs."""
        file = "/etc/tinyci/tinyci.toml"
        original = self.sh(f"cat {file}")
        self.sh(f"cat >{file}; systemctl reload tinyci", stdin=f"{original}\n{text}")
        try:
            yield
        finally:
            self.sh(f"cat >{file}; systemctl reload tinyci", stdin=original)

    # -- Redis -------------------------------------------------------------------------------------------------

    def redis(self, command: str) -> list[str]:
        return self.sh(f"{REDIS} {command}").splitlines()

    def redis_all(self, commands: list[str]) -> list[str]:
        """Return the answers, of one line each, to many commands."""
        return self.sh(REDIS, stdin="\n".join(commands) + "\n").splitlines()

    def redis_json(self, command: str) -> object:
        return json.loads(self.sh(f"{REDIS} --json {command}"))

    def job(self, job_id: str) -> dict[str, str]:
        fields = self.redis_json(f"hgetall tinyci:job:{job_id}")
        assert isinstance(fields, dict)
        return {str(key): str(value) for key, value in fields.items()}

    def keys(self, pattern: str) -> list[str]:
        """Return the rest of each key that begins as the pattern does, up to its `*`."""
        begin = len(pattern.removesuffix("*"))
        return sorted(key[begin:] for key in self.redis(f"--scan --pattern '{pattern}'") if key)

    def log(self, job_id: str) -> list[str]:
        entries = self.redis_json(f"xrange tinyci:log:{job_id} - +")
        assert isinstance(entries, list)
        return [entry[1][1] for entry in entries]

    def wait(self, job_id: str, states: Collection[str] = FINAL, limit: float = 90) -> dict[str, str]:
        """Return the job's hash as soon as its state is one of those. The event stream wakes us: no polling."""
        end = time.monotonic() + limit
        while True:
            last = self.redis("xrevrange tinyci:events + - count 1")[:1] or ["0-0"]
            job = self.job(job_id)
            if job.get("state") in states:
                if job["state"] in FINAL:  # pytest prints it when the test fails, and cuts a long hash short
                    print(f"job {job_id} of {job.get('repo')} ended {job['state']}: {job.get('reason', '')}")
                return job
            if time.monotonic() > end or job.get("state") in FINAL:
                tail = self.sh("systemctl status tinyci --no-pager; journalctl -u tinyci -n 30 --no-pager; true")
                raise AssertionError(f"job {job_id} is not {states} within {limit} s: {job}\n{tail}")
            self.redis(f"xread block 5000 count 1 streams tinyci:events {last[0]}")

    def wait_all(self, jobs: list[str], limit: float = 120) -> list[dict[str, str]]:
        return [self.wait(job, limit=limit) for job in jobs]

    # -- a person who pushes -----------------------------------------------------------------------------------

    def push(self, work: "Work", *arguments: str, repo: str = "") -> Push:
        # --force: a host that is used again knows other clones' commits.
        command = [HOST, "push", self.name, str(work.path), repo or work.repo, "--force", *arguments]
        result = subprocess.run(command, capture_output=True, timeout=60, check=False)
        text = (result.stdout + result.stderr).decode("utf-8", "replace")
        if result.returncode:
            raise HostError(f"git push ended with status {result.returncode}:\n{text}")
        return Push(text, re.findall(r"(?:started|kept) job ([0-9a-f-]{36}) for", text))

    def deploy(self, work: "Work", limit: float = 90) -> dict[str, str]:
        """Push, and wait for the end of its one job."""
        return {"id": (push := self.push(work)).job, **self.wait(push.job, limit=limit)}

    # -- its power and its services ----------------------------------------------------------------------------

    def kill(self, service: str) -> None:
        """SIGKILL the service's main process, and return when systemd has started it anew."""
        self.sh(
            f"old=$(systemctl show -P MainPID {service}); kill -KILL $old\n"
            f"until new=$(systemctl show -P MainPID {service}); [ $new != $old ] && [ $new != 0 ]\n"
            "do sleep 0.05; done\n"
            f"until systemctl is-active -q {service}; do sleep 0.05; done",
            limit=30,
        )

    def host(self, *arguments: str, limit: float = 600) -> None:
        subprocess.run([HOST, *arguments], check=True, timeout=limit, stdout=sys.stderr)


class Work:
    """A person's clone of a repository, pushed as one of the host's repos."""

    def __init__(self, path: Path, repo: str) -> None:
        self.path = path
        self.repo = repo
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=master", ".")
        self.git("config", "user.name", "A Person")
        self.git("config", "user.email", "person@example.org")

    def git(self, *arguments: str) -> str:
        result = subprocess.run(["git", *arguments], cwd=self.path, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    def commit(self, files: Mapping[str, str | bytes], message: str = "Change") -> str:
        """Write the files, commit them, and return the revision. Scripts (*.sh) become executable."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            if name.endswith(".sh"):
                path.chmod(0o755)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def script(self, body: str, message: str = "Change the script") -> str:
        """Commit a ci-build.sh with that body."""
        return self.commit({"ci-build.sh": f"#!/bin/sh\n{body}\n"}, message)
