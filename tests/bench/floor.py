"""Costs that no deploy can be without, each measured alone: the floor under the other rows."""

from benchhost import BenchHost
from measurement import Sample, milliseconds, table

_PYTHON = "/opt/tinyci/bin/python3"
_TIMED = """for number in $(seq COUNT); do
    begin=$EPOCHREALTIME
    COMMAND >/dev/null 2>&1
    echo "$begin $EPOCHREALTIME"
done
"""
_RESIDENT = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
COMMANDS = {
    "a fork and an exec: `true`": ("probe-1", "/bin/true"),
    "a git process: `git version`": ("probe-1", "git version"),
    "an interpreter: `python3 -IS -c pass`": ("probe-1", f"{_PYTHON} -IS -c pass"),
    "an interpreter with all that the build stage imports": (
        "probe-1",
        f"{_PYTHON} -IS -c '{{path}}; import tinyci.stage.build'",
    ),
    "an interpreter with all that the hook imports": ("git", f"{_PYTHON} -IS -c '{{path}}; import tinyci.hook'"),
    "a unit: `systemctl --user start` of `/bin/true`": ("probe-1", "systemctl --user start bench-true.service"),
    "podman: `podman version`": ("hello-quadlet", "podman version"),
    "podman: `podman images`": ("hello-quadlet", "podman images --no-trunc --format json"),
    "podman: `podman ps`": ("hello-quadlet", "podman ps --all --no-trunc --format json"),
}
LIBRARIES = {
    "an interpreter": "pass",
    "with asyncio": "import asyncio",
    "with asyncio and redis": "import redis.asyncio",
    "with asyncio, redis, dbus-next and systemd": "import redis.asyncio, dbus_next.aio, systemd.journal",
}


def floor(host: BenchHost) -> str:
    """Return what each costs, as a table: in milliseconds, or in megabytes that stay."""
    path = f'import sys; sys.path.append("{host.sh("echo /opt/tinyci/lib/python3*/site-packages").strip()}")'
    unit = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
    host.sh("mkdir -p /run/systemd/user; cat >/run/systemd/user/bench-true.service", stdin=unit)
    host.as_manager("probe-1", "systemctl --user daemon-reload")
    lines = []
    for name, (user, command) in COMMANDS.items():
        script = _TIMED.replace("COUNT", str(host.count)).replace("COMMAND", command.replace("{path}", path))
        pairs = [line.split() for line in host.as_manager(user, script).splitlines()]
        lines.append([name, str(milliseconds(float(end) - float(begin) for begin, end in pairs))])
    for name, program in LIBRARIES.items():
        size = host.sh(f'/opt/tinyci/bin/python3 -c "{program}; {_RESIDENT}"')
        lines.append([f"memory: {name}", str(Sample((int(size) / 1024,), "MB"))])
    return table(("the floor", "cost"), lines)
