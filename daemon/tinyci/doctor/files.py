"""Files that tinyci installed, and commands that restore them from the archive that the playbook left on the server."""

import glob
import os
import shlex
from collections.abc import Mapping

from tinyci.doctor.finding import Finding, ok, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import File, System

RELEASE = "/opt/tinyci/release"
ARCHIVE = f"{RELEASE}/server.tar"
POLICY = "/etc/dbus-1/system.d/org.tinyci1.conf"
ACTIONS = "/usr/share/polkit-1/actions/org.tinyci1.policy"
RULES = "/etc/polkit-1/rules.d/50-tinyci.rules"
HOOK = "/opt/tinyci/hooks/post-receive"
RATE = "/usr/local/lib/tinyci/journal-rate"
RATE_CONF = f"{RATE}.conf"
SYSUSERS = "/etc/sysusers.d/tinyci.conf"
TMPFILES = "/etc/tmpfiles.d/tinyci.conf"
UNITS = "/usr/local/lib/systemd/system"
USER_UNITS = "/usr/local/lib/systemd/user"

RELOAD = "systemctl daemon-reload"
# A manager loads its units again on SIGHUP (systemd(1)).
RELOAD_USERS = "systemctl kill --kill-whom=main --signal=SIGHUP 'user@*.service'"
STAGES = tuple(f"tinyci-{stage}@.service" for stage in ("build", "verify", "rollback"))

# The command that makes each known, in the order in which they run.
_LOAD = {
    SYSUSERS: f"systemd-sysusers {SYSUSERS}",
    TMPFILES: f"systemd-tmpfiles --create {TMPFILES}",
    POLICY: "systemctl reload dbus.service",
    ACTIONS: "systemctl restart polkit.service",
    RULES: "systemctl restart polkit.service",
    HOOK: "",
    **{
        f"{UNITS}/{unit}": RELOAD
        for unit in ("tinyci.service", "tinyci-gate@.service", *STAGES, "tinyci-build.slice", "tinyci.slice")
    },
    **{f"{USER_UNITS}/{unit}": RELOAD_USERS for unit in (*STAGES, "tinyci-build.slice")},
    RATE_CONF: RELOAD,
    RATE: RATE,
}
FILES = tuple(_LOAD)
_PLAYBOOK = "running ansible/server.yml again brings them as well"


def restore(*paths: str, then: str = "") -> str:
    """The command that restores files and makes them known. Empty without the archive: run the playbook then."""
    if not os.path.exists(ARCHIVE):
        return ""
    loads = dict.fromkeys(load for path, load in _LOAD.items() if path in paths and load)
    names = " ".join(shlex.quote(path.removeprefix("/")) for path in paths)
    return " && ".join([f"tar -C / -xf {ARCHIVE} {names}", *loads, *([then] if then else [])])


def reinstall() -> str:
    """The command that installs tinyci's own code anew. Empty without its wheel: run the playbook then."""
    if not glob.glob(f"{RELEASE}/*.whl"):
        return ""
    newest = f"$(ls -t {RELEASE}/*.whl | head -n 1)"
    return f"/opt/tinyci/bin/pip install --no-index --no-deps --force-reinstall {newest}"


def judge_files(missing: list[str]) -> Finding:
    if missing:
        names = ", ".join(missing)
        return wrong(
            Problem.FILES_MISSING, f"of tinyci's own files are missing: {names}; {_PLAYBOOK}", restore(*missing)
        )
    return ok("files", "tinyci's own files are there")


def judge_rights(directories: Mapping[str, File | None]) -> Finding:
    """`directories`: by path, those in which the daemon, the hook and the stages have their programs."""
    for path, file in directories.items():
        if file and file.mode & 0o055 != 0o055:
            text = (
                f"{path} is {file.rights}: neither the daemon nor the hook nor the users' builds can run what is there"
            )
            return wrong(Problem.FILES_CLOSED, text, "chmod -R go+rX /opt/tinyci")
    return ok("files-rights", "tinyci's programs can be run by those who have to")


def look(system: System) -> list[Finding]:
    reachable = [path for path in FILES if path != RULES or system.is_root]  # its directory is closed
    programs = ("/opt/tinyci", "/opt/tinyci/bin", "/opt/tinyci/hooks", "/opt/tinyci/lib")
    return [
        judge_rights({path: system.file(path) for path in programs}),
        judge_files([path for path in reachable if system.file(path) is None]),
    ]
