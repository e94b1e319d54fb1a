"""The booted host that is measured: pushes to it without the price of a wrapper, and the reference beside tinyci."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "host"))
from testhost import HOST, REDIS, TREE, TestHost, Work  # noqa: E402

__all__ = ["HOST", "REDIS", "BenchHost", "Work"]

RUN = "/run/bench"
FIFO = f"{RUN}/first-line"
LOOP_REDIS = f"redis-cli -s {RUN}/redis.sock"

SCRIPT = f"""now=$(date +%s.%N)
unit=$(sed -n 's|^0::.*/||p' /proc/self/cgroup)
echo "$now" >{FIFO}
case $unit in tinyci-build@*) systemctl --user show --timestamp=us+utc -P ExecMainStartTimestamp "$unit" ;; esac"""
"""Says when its first line ran, and the stage's process began."""


class BenchHost(TestHost):
    """A host that is up, with the inventory of tests/bench."""

    def __init__(self, name: str, directory: Path, count: int) -> None:
        super().__init__(name)
        self.count = count
        """Measurements of each row that has a median."""
        self._directory = directory
        self._works: dict[str, Work] = {}
        ssh_config = subprocess.run([HOST, "ssh-config", name], capture_output=True, text=True, check=True).stdout
        self._ssh = f"ssh -F '{ssh_config.strip()}'"

    def set_up(self) -> None:
        """Put the reference beside tinyci: its Redis as Debian has it, its hook, its loop."""
        loop, hook = ((HERE / "loop" / name).read_text() for name in ("loop", "hook"))
        self.sh(
            f"mkdir -p {RUN}/hooks; cat >{RUN}/loop; chmod 755 {RUN}/loop\n"
            f"[ -p {FIFO} ] || mkfifo -m 666 {FIFO}; chmod 666 {FIFO}\n"
            "systemctl is-active -q bench-redis || systemd-run -q --unit bench-redis -p DynamicUser=yes "
            f"-p RuntimeDirectory=bench-redis redis-server --port 0 --unixsocket /run/bench-redis/redis.sock "
            "--unixsocketperm 777 --dir /tmp\n"
            f"ln -sf /run/bench-redis/redis.sock {RUN}/redis.sock\n"
            f"timeout 10 sh -c 'until {LOOP_REDIS} ping 2>/dev/null; do sleep 0.1; done'",
            stdin=loop,
        )
        self.sh(f"git config --file {RUN}/gitconfig safe.directory '*'")
        self.sh(f"cat >{RUN}/hooks/post-receive; chmod 755 {RUN}/hooks/post-receive", stdin=hook)

    def repository(self, name: str, hooks: str = f"{RUN}/hooks") -> str:
        """Make a bare repository with that hook, unless it is there, and return its name."""
        self.sh(
            f"cd /srv/git && {{ [ -d {name}.git ] || git init -q --bare {name}.git; }} && chmod 755 {name}.git && "
            f"git config --file {name}.git/config core.hooksPath {hooks} && chown -R git:git {name}.git"
        )
        return name

    @contextmanager
    def loop(self, user: str, repo: str, unit: str = "") -> Iterator[None]:
        """Run the reference's loop for a repo while the block runs."""
        self.start_loop(user, repo, unit)
        try:
            yield
        finally:
            self.sh(f"systemctl stop bench-{repo}.service; {LOOP_REDIS} del bench:queue:{repo}")

    def start_loop(self, user: str, repo: str, unit: str = "") -> None:
        self.sh(
            f"systemctl reset-failed bench-{repo} 2>/dev/null; uid=$(id -u {user})\n"
            f"systemd-run -q --unit bench-{repo} --uid {user} --working-directory ~{user} -E HOME=~{user} "
            f"-E XDG_RUNTIME_DIR=/run/user/$uid -E DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$uid/bus "
            f"{RUN}/loop {repo} {unit}"
        )

    # -- a person who pushes -----------------------------------------------------------------------------------

    def work(self, name: str) -> Work:
        """Return a person's clone of that name; at first with 1,000 files and a script that says when it runs."""
        if name not in self._works:
            path = self._directory / name
            sample = TREE / "tests" / "apps" / name
            if sample.is_dir():
                shutil.copytree(sample, path)
            work = self._works[name] = Work(path, name)
            if sample.is_dir():
                work.commit({})
            else:
                work.commit({f"files/{number // 50}/{number}": f"{number}\n" * 50 for number in range(1000)})
                work.script(SCRIPT)
        return self._works[name]

    def timed_push(self, work: Work, repo: str = "") -> tuple[float, float, str]:
        """Push as a person does; return when git began, the seconds that it took, and its output."""
        url = f"git@{self.name}:/srv/git/{repo or work.repo}.git"
        command = ["git", "-C", str(work.path), "-c", f"core.sshCommand={self._ssh}", "push", "--force", url]
        begin = time.time()
        result = subprocess.run([*command, "HEAD:refs/heads/master"], capture_output=True, text=True, timeout=300)
        took = time.time() - begin
        assert result.returncode == 0, result.stderr
        return begin, took, result.stdout + result.stderr

    def wait_for_first_line(self) -> float:
        """Return when the script said that it ran. It waits for us to read."""
        return float(self.sh(f"timeout 20 cat {FIFO}"))

    def wait_for_loop(self, repo: str) -> None:
        """Return when the loop waits for its next job."""
        is_over = f"[ $({LOOP_REDIS} llen bench:queue:{repo}) = 0 ] && {LOOP_REDIS} client list | grep -q cmd=blpop"
        self.sh(f"until {is_over}; do sleep 0.1; done", limit=30)

    # -- what the kernel has counted ---------------------------------------------------------------------------

    def cpu(self, groups: dict[str, str]) -> dict[str, float]:
        """Return the milliseconds of CPU that control groups have used, by the names given to their paths."""
        lines = self.sh(
            f"cd /sys/fs/cgroup; for group in {' '.join(groups.values())}\n"
            "do awk '/^usage_usec/ { print $2 }' ./$group/cpu.stat 2>/dev/null || echo 0; done"
        ).splitlines()
        return {name: int(line) / 1000 for name, line in zip(groups, lines, strict=True)}

    def main_pid(self, unit: str) -> str:
        return self.sh(f"systemctl show -P MainPID {unit}").strip()

    def resident(self, unit: str) -> float:
        """Return the MB that a service's main process has in memory; 0 if none runs."""
        text = self.sh(f"grep VmRSS /proc/$(systemctl show -P MainPID {unit})/status || echo x 0")
        return int(text.split()[1]) / 1024
