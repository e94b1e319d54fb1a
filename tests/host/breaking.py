"""Breakages: something that a person did to a test host, and the problem that doctor has to find."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from testhost import TestHost

USER = REPO = "probe-other"
REPOSITORY = f"/srv/git/{REPO}.git"
COPIES = "/var/tmp/doctor"  # files that a breakage takes away, to be put back whatever happens
REDIS = "redis-server@tinyci.service"
AGAIN = f"systemctl reset-failed {REDIS}; systemctl restart {REDIS}"  # these restarts in a row are no crash loop
POLKIT = "systemctl reset-failed polkit 2>/dev/null; systemctl restart polkit"
GATE = "tinyci-gate@$uid.service"
MINE = f"systemctl --user -M {USER}@"
UP = f"timeout 60 sh -c 'until systemctl is-active -q {GATE}; do sleep 0.1; done'"
ALL_UP = f"timeout 60 sh -c 'until systemctl is-active -q tinyci; do sleep 0.1; done' && {UP}"

TOML = f"/etc/tinyci/repos.d/{REPO}.toml"
ACL, CONFIG, DATA = "/etc/redis/users-tinyci.acl", "/etc/redis/redis-tinyci.conf", "/var/lib/redis-tinyci"
CREDENTIALS = "/etc/tinyci/credentials"
RULES = "/etc/polkit-1/rules.d"
ACTIONS = "/usr/share/polkit-1/actions/org.tinyci1.policy"
POLICY = "/etc/dbus-1/system.d/org.tinyci1.conf"
UNITS = "/usr/local/lib/systemd/system"
USER_UNITS = "/usr/local/lib/systemd/user"
GATE_UNIT = f"{UNITS}/tinyci-gate@.service"
RATE = "/usr/local/lib/tinyci/journal-rate"
CODE = "/opt/tinyci/current/lib/python3*/site-packages/tinyci"
PAUSE = "/run/user/$uid/libpod/tmp/pause.pid"
GATE_AGAIN = f"systemctl daemon-reload; systemctl restart {GATE}"
MANAGER_AGAIN = f"systemctl daemon-reload; systemctl restart user@$uid.service; {UP}"
TMPFILES = "systemd-tmpfiles --create /etc/tmpfiles.d/tinyci.conf"
VERIFY = f"tinyci-verify@{'0' * 32}.service"
INSTALL = "/opt/tinyci/bin/pip install -q --no-index --no-deps --force-reinstall /opt/tinyci/release/*.whl"
PACKAGES = "python3-sdnotify python3-systemd redis-server polkitd podman uidmap xdg-dbus-proxy git dbus-user-session"


class Breakage(NamedTuple):
    """A problem, words of the sentence on it, and shell scripts, in which $uid is the user's."""

    problem: str
    """Its key: `CHECK/WORD`."""
    words: str
    do: str = ":"
    undo: str = ":"
    """Restores the host, whatever was mended meanwhile."""
    by: str = ""
    """The check whose mend mends it, where it comes of something else and has no mend of its own."""
    subject_words: str = ""
    """More words of the sentence, on its subject."""


class Round(NamedTuple):
    """Breakages that happen at once, since none hides another."""

    breakages: Sequence[Breakage]
    subject: str = REPO
    deploys: str = REPO
    """The repo that is deployed when all is mended."""


def file(path: str, change: str, then: str = "") -> tuple[str, str]:
    """Change a file or directory by a command; `then` makes that known."""
    copy = f"{COPIES}{path}"
    keep = f"mkdir -p $(dirname {copy}) && cp -a {path} {copy}"
    back = f"[ ! -e {copy} ] || {{ rm -rf {path} && mv {copy} {path}; }}"
    return f"{keep} && {change} {path}\n{then}", f"{back}\n{then}"


def append(path: str, line: str, then: str = "") -> tuple[str, str]:
    return file(path, f"echo '{line}' >>", then)


def drop_in(unit: str, text: str, then: str = "", where: str = "system") -> tuple[str, str]:
    """Add an admin's drop-in for a unit."""
    directory = f"/etc/systemd/{where}/{unit}.d"
    write = f"mkdir -p {directory} && printf '{text}' >{directory}/doctor.conf"
    reload = "systemctl daemon-reload" if where == "system" else f"{MINE} daemon-reload"
    clear = f"rm -f {directory}/doctor.conf {directory}/zz-timeout.conf; rmdir --ignore-fail-on-non-empty {directory}"
    return f"{write}\n{reload}\n{then}", f"[ ! -e {directory} ] || {{ {clear}; }}\n{reload}\n{then}"


def sshd(line: str, name: str, back: str = ":") -> tuple[str, str]:
    """Give sshd a setting. `name`: of the file, as that of the mend."""
    directory, reload = "/etc/ssh/sshd_config.d", "systemctl reload ssh"
    file = f"{directory}/90-doctor-{name}.conf"
    return f"echo {line!r} >{file}\n{reload}", f"rm -f {file} {directory}/10-tinyci-{name}.conf\n{back}\n{reload}"


def small(path: str, options: str) -> tuple[str, str]:
    """Mount a file system at that path that is too small until a person makes room."""
    mount = f"[ -d {path} ] || runuser -u {USER} -- mkdir -p {path}\nmount -t tmpfs -o {options} tmpfs {path}"
    return mount, f"! findmnt -n {path} >/dev/null || umount {path}"


# All is put back: whatever failed before, nothing was thrown away.
WELL = f"""
find {COPIES} -depth -type d -empty -delete 2>/dev/null
[ ! -e {COPIES} ] || exit 9
systemctl reset-failed tinyci {REDIS} 2>/dev/null
timeout 60 systemctl restart {REDIS} tinyci && {UP}
"""


@contextmanager
def break_for_a_while(server: TestHost, breakages: Sequence[Breakage]) -> Iterator[None]:
    """Break the host for the time of the block."""
    begin = f"export uid=$(id -u {USER})"
    try:
        server.sh("\n".join((begin, "set -ex", *(each.do for each in breakages))))
        yield
    finally:
        result = server.run("\n".join((begin, "set -x", *(each.undo for each in reversed(breakages)), WELL)))
        assert result.status == 0, result.text
