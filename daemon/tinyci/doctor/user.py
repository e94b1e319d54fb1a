"""The user that builds and runs containers: home, subordinate ids, a manager that runs without a login, podman."""

import re
import shutil
from collections.abc import Sequence

from tinyci.doctor import files, packages, service
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import PATIENCE, TOO_LATE, CommandResult, File, System, group_of, user_entry
from tinyci.systemd.useraccount import is_lingering

COUNT = 65536
"""Subordinate ids that a container's own users need."""
_PYTHON = "/opt/tinyci/bin/python3"
# Their code, and the programs that their units run.
_STAGES = """
import os, tinyci.stage.build, tinyci.stage.verify, tinyci.stage.rollback
for stage in ("build", "verify", "rollback"):
    os.stat(f"/opt/tinyci/bin/tinyci-{stage}")
"""


def judge_exists(user: str, *, exists: bool) -> Finding:
    if not exists:
        make = f"useradd --system --create-home --home-dir /var/lib/{user} --shell /usr/sbin/nologin {user}"
        return wrong(
            Problem.USER_MISSING, f"there is no user {user}: make one, or change 'user' in the repo's file", make
        )
    return ok("user", f"user {user} exists")


def judge_home(user: str, group: str, home: str, directory: File | None) -> Finding:
    make = f"install --directory --owner={user} --group={group} --mode=0700 {home}"
    if directory is None:
        return wrong(Problem.HOME_MISSING, f"{home} is missing: {user}'s images and checkouts are kept there", make)
    if not directory.is_directory or directory.owner != user or directory.mode & 0o700 != 0o700:
        text = f"{home} is {directory.rights}, and {user} cannot keep images and checkouts there"
        if not directory.is_directory:
            return wrong(Problem.HOME_NO_DIRECTORY, text)
        return wrong(Problem.HOME_RIGHTS, text, make)
    return ok("home", f"{home} is {user}'s")


def judge_linger(user: str, *, lingers: bool) -> Finding:
    if not lingers:
        text = f"user {user} does not linger: nothing of it runs after a boot, nor its manager without a login"
        return wrong(Problem.LINGER_OFF, text, f"loginctl enable-linger {user}")
    return ok("linger", f"user {user} lingers")


def judge_ids(user: str, uid: int, subuid: str, subgid: str) -> Finding:
    """The texts of /etc/subuid and /etc/subgid (subuid(5))."""
    adds, missing = [], []
    for kind, text in (("subuid", subuid), ("subgid", subgid)):
        ranges = parse_ranges(text)
        if not any(count >= COUNT for name, _, count in ranges if name in (user, str(uid))):
            first = free_range(uid, ranges)
            adds.append(f"--add-{kind}s {first}-{first + COUNT - 1}")
            missing.append(f"/etc/{kind}")
    if missing:
        text = f"user {user} has no {COUNT} subordinate ids in {' and '.join(missing)}: podman builds no image without"
        migrate = f"runuser -u {user} -- env -C / XDG_RUNTIME_DIR=/run/user/{uid} podman system migrate"
        return wrong(Problem.SUBORDINATE_IDS_MISSING, text, f"usermod {' '.join(adds)} {user} && {migrate}")
    return ok("subordinate-ids", f"user {user} has subordinate ids")


def parse_ranges(text: str) -> list[tuple[str, int, int]]:
    """Name, first id and count."""
    rows = [line.strip().split(":") for line in text.splitlines()]
    return [(row[0], int(row[1]), int(row[2])) for row in rows if len(row) == 3 and (row[1] + row[2]).isdigit()]


def free_range(uid: int, ranges: Sequence[tuple[str, int, int]]) -> int:
    """The first of ids that nobody has; as the role app gives them, when these are free."""
    first = 524288 + uid * COUNT
    while ends := [begin + count for _, begin, count in ranges if begin < first + COUNT and first < begin + count]:
        first = max(ends)
    return first


def judge_answer(user: str, uid: int, result: CommandResult) -> Finding:
    """`result`: of a question to the user's manager, which is up."""
    unit = f"user@{uid}.service"
    if result.status == TOO_LATE:  # other failures have checks of their own
        text = f"{unit} is up and hangs, and nothing of {user} is built or restarted; this mend restarts all of it"
        return wrong(Problem.MANAGER_HANGS, text, f"systemctl restart {unit}")
    return ok("manager", f"{unit} is up")


def judge_runtime_directory(
    user: str, uid: int, directory: File | None, *, has_bus: bool, has_package: bool
) -> Finding:
    """`has_bus`: something listens there. `has_package`: the package with its socket is installed."""
    path, restart = f"/run/user/{uid}", f"systemctl restart user-runtime-dir@{uid}.service user@{uid}.service"
    remark = f"this mend restarts what {user} runs"
    if directory is None or directory.owner != user:
        return wrong(
            Problem.RUNTIME_DIRECTORY_MISSING, f"{path} is not there for {user}, and podman needs it; {remark}", restart
        )
    if has_bus:
        return ok("runtime-directory", f"{path} is there, with {user}'s bus")
    if not has_package:
        text = f"{user} has no bus at {path}/bus, since dbus-user-session is not installed; {remark}"
        return wrong(
            Problem.RUNTIME_DIRECTORY_NO_PACKAGE, text, f"{packages.install('dbus-user-session')} && {restart}"
        )
    text = f"{user} has no bus at {path}/bus, so its manager cannot be asked for anything; {remark}"
    return wrong(Problem.RUNTIME_DIRECTORY_NO_BUS, text, f"systemctl restart user@{uid}.service")


def judge_podman(
    user: str, uid: int, home: str, result: CommandResult, *, is_installed: bool, foreign_file: str
) -> Finding:
    """`result`: of podman, run as builds run it. `foreign_file`: one in its storage that is not the user's."""
    if not is_installed:
        text = "podman is not installed: no image can be built"
        return wrong(Problem.PODMAN_NOT_INSTALLED, text, packages.install(*packages.PODMAN))
    if foreign_file:
        mend = f"chown -R --no-dereference {user}: {home}/.local/share/containers"
        return wrong(
            Problem.PODMAN_FOREIGN_STORAGE,
            f"{foreign_file} is not {user}'s: podman cannot use its storage, of which it is a part",
            mend,
        )
    if result.status:
        text = f"podman does not work for {user}: {result.last}"
        if re.search("new[ug]idmap.*(executable file not found|should have setuid)", result.err):
            text = f"newuidmap or newgidmap is missing or not privileged: {text}"
            return wrong(Problem.PODMAN_NO_ID_MAPS, text, packages.again("uidmap"))
        if "cannot set user namespace" in result.err:
            # The process that kept it has ended, and its number is another's now.
            text = f"podman takes a process of {user} for one that keeps its user namespace: {text}"
            return wrong(Problem.PODMAN_PAUSE_PROCESS, text, f"rm /run/user/{uid}/libpod/tmp/pause.pid")
        return wrong(Problem.PODMAN_FAILS, f"{text}; 'podman info' as {user} says more")
    return ok("podman", f"podman works for {user}")


def judge_stages(user: str, result: CommandResult) -> Finding:
    """`result`: of importing the stages' code as the user."""
    if result.status:
        text = f"{user} cannot run tinyci's stages in /opt/tinyci: {result.last}"
        if "Permission denied" in result.err or result.status in (126, 127):
            return wrong(Problem.STAGES_CLOSED, text, "chmod -R go+rX /opt/tinyci")
        return wrong(Problem.STAGES_FAIL, text, files.reinstall())
    return ok("stages", f"{user} can run tinyci's stages")


async def look(system: System, user: str) -> list[Finding]:
    entry = user_entry(user)
    findings = [judge_exists(user, exists=entry is not None)]
    if entry is None:
        return findings
    uid, home = entry.pw_uid, entry.pw_dir
    is_up = True
    if user != "root":
        why = f"nothing of {user} is built or restarted"
        up, _ = await service.look(system, "manager", f"user@{uid}.service", why)
        if up.verdict is Verdict.OK and system.may_be(user):
            up = judge_answer(user, uid, await system.run(*system.systemctl(user), "show", "--value", limit=PATIENCE))
        is_up = up.verdict is Verdict.OK
        texts = system.read("/etc/subuid") or "", system.read("/etc/subgid") or ""
        findings += [
            judge_home(user, group_of(entry.pw_gid), home, system.file(home))
            if system.reaches(home)
            else unchecked("home"),
            judge_linger(user, lingers=is_lingering(user)),
            judge_ids(user, uid, *texts),
            up,
        ]
    if not system.may_be(user):
        return findings + [unchecked(name) for name in ("runtime-directory", "podman", "stages")]
    if not is_up:
        names = ("runtime-directory", "podman")
        findings += [unchecked(name, f"{user}'s manager is not up") for name in names]
    else:
        if user != "root":
            directory = f"/run/user/{uid}"
            has_package = system.exists("/usr/lib/systemd/user/dbus.socket")
            has_bus = system.listens(f"{directory}/bus")
            file = system.file(directory)
            findings.append(judge_runtime_directory(user, uid, file, has_bus=has_bus, has_package=has_package))
        findings.append(await _podman(system, user, uid, home))
    findings.append(judge_stages(user, await system.run(_PYTHON, "-I", "-c", _STAGES, user=user)))
    return findings


async def _podman(system: System, user: str, uid: int, home: str) -> Finding:
    command = ["podman", "info", "--format", "{{.Store.GraphRoot}}"]
    if user != "root":
        # As a unit of the user's own manager, where the builds run too.
        machine = [f"--machine={user}@.host"] if system.is_root else []
        runs = ["systemd-run", "--quiet", "--user", *machine, "--pipe", "--wait", "--collect"]
        command = [*runs, "--property=RuntimeMaxSec=30", *command]
    result = await system.run(*command, limit=40)
    foreign_file = ""
    if result.status and user != "root":
        # Below, files of containers have the user's subordinate ids.
        storage = f"{home}/.local/share/containers"
        find = ("find", storage, "-maxdepth", "2", "!", "-uid", str(uid), "-print", "-quit")
        foreign_file = (await system.run(*find)).out.strip()
    is_installed = shutil.which("podman") is not None
    return judge_podman(user, uid, home, result, is_installed=is_installed, foreign_file=foreign_file)
