"""Each failure that doctor knows, made to happen on purpose: it is named, and what is printed for it mends it.

Failures that do not hide each other happen at once, and their mends are run as printed, from the top.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from box import HOST, Box, Work
from examined import doctor, mend, wrong

USER = REPO = "probe-other"
REPOSITORY = f"/srv/git/{REPO}.git"
TOML = f"/etc/tinyci/repos.d/{REPO}.toml"
ACL, CONFIG, DATA = "/etc/redis/users-tinyci.acl", "/etc/redis/redis-tinyci.conf", "/var/lib/redis-tinyci"
RULES = "/etc/polkit-1/rules.d"
KEPT = "/var/tmp/doctor"  # what a break takes away, to be put back whatever happens
REDIS = "redis-server@tinyci.service"
AGAIN = f"systemctl reset-failed {REDIS}; systemctl restart {REDIS}"  # these restarts in a row are no crash loop


class Broken(NamedTuple):
    """What a person did, and how it is as before; shell scripts, in which $uid is the user's."""

    do: str
    undo: str


def file(path: str, change: str, then: str = "") -> Broken:
    """A file changed by a script, and what makes that known."""
    kept = f"{KEPT}{path}"
    keep = f"mkdir -p $(dirname {kept}) && cp -a {path} {kept}"
    back = f"[ ! -e {kept} ] || {{ rm -rf {path} && mv {kept} {path}; }}"
    return Broken(f"{keep} && {change} {path}" + (f"\n{then}" if then else ""), back + (f"\n{then}" if then else ""))


def append(path: str, line: str, then: str = "") -> Broken:
    return file(path, f"echo '{line}' >>", then)


def drop_in(unit: str, text: str, then: str = "", where: str = "system") -> Broken:
    """A drop-in of an admin's for a unit."""
    directory = f"/etc/systemd/{where}/{unit}.d"
    write = f"mkdir -p {directory} && printf '{text}' >{directory}/doctor.conf"
    reload = "systemctl daemon-reload" if where == "system" else f"systemctl --user -M {USER}@ daemon-reload"
    clear = f"rm -f {directory}/doctor.conf {directory}/zz-timeout.conf; rmdir --ignore-fail-on-non-empty {directory}"
    return Broken(f"{write}\n{reload}\n{then}", f"[ ! -e {directory} ] || {{ {clear}; }}\n{reload}\n{then}")


GATE = "tinyci-gate@$uid.service"
UP = f"timeout 60 sh -c 'until systemctl is-active -q {GATE}; do sleep 0.1; done'"
# All is put back: whatever failed before, nothing was thrown away.
WELL = f"""
find {KEPT} -depth -type d -empty -delete 2>/dev/null
[ ! -e {KEPT} ] || exit 9
systemctl reset-failed tinyci {REDIS} 2>/dev/null
timeout 60 systemctl restart {REDIS} tinyci && {UP}
"""

# By round, and in it by the check that has to name it.
ROUNDS: Mapping[str, Mapping[str, Broken]] = {
    "what a person let slip": {
        "configuration-rights": file(TOML, "chmod 600"),
        "redis-enabled": Broken(f"systemctl disable -q {REDIS}", f"systemctl enable -q {REDIS}"),
        "redis-password-web": file("/etc/tinyci/credentials/redis-web", "chmod 644"),
        "redis-password-hook": file("/etc/tinyci/credentials/redis-hook", "chgrp root"),
        "daemon-enabled": Broken("systemctl disable -q tinyci", "systemctl enable -q tinyci"),
        "queue": Broken(
            "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Pause",
            "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Resume",
        ),
        "linger": Broken(f"rm /var/lib/systemd/linger/{USER}", f"loginctl enable-linger {USER}"),
        "gate-enabled": Broken(f"systemctl disable -q {GATE}", f"systemctl enable -q {GATE}"),
        "templates": Broken(
            f"systemctl --user -M {USER}@ mask -q tinyci-build@.service",
            f"systemctl --user -M {USER}@ unmask -q tinyci-build@.service",
        ),
        "build-limit": drop_in("tinyci-build@.service", "[Service]\\nTimeoutStartSec=1min\\n", where="user"),
        "repository-private": Broken(f"chmod o+rx {REPOSITORY}", f"chmod 2750 {REPOSITORY}"),
        "repository-owned": Broken(
            f"install -d -o root -g {USER} -m 2750 {REPOSITORY}/objects/00",
            f"rmdir {REPOSITORY}/objects/00 2>/dev/null || true",
        ),
        "push-groups": Broken("gpasswd -d git tinyci-push", "gpasswd -a git tinyci-push"),
        "push-shell": Broken("usermod -s /usr/sbin/nologin git", "usermod -s /usr/bin/git-shell git"),
        "hook": file(f"{REPOSITORY}/config", "sed -i /hooksPath/d"),
        "hook-runs": Broken("chmod 644 /opt/tinyci/hooks/post-receive", "chmod 755 /opt/tinyci/hooks/post-receive"),
    },
    "the daemon is stopped": {
        "spool-backlog": Broken(
            "systemctl stop tinyci\n"
            "cd /var/spool/tinyci && id=$(cat /proc/sys/kernel/random/uuid) && f=0000000000000001-0001-$id.json && "
            f'echo "{{\\"id\\": \\"$id\\", \\"repo\\": \\"{REPO}\\", \\"ref\\": \\"refs/heads/master\\", '
            '\\"revision\\": \\"$(printf %040d 1)\\"}" >$f && chmod 644 $f && touch -d "5 minutes ago" $f',
            "rm -f /var/spool/tinyci/0000000000000001-0001-*",
        ),
        "daemon": Broken("systemctl stop tinyci", ":"),
        "home": Broken(f"chown root: ~{USER}", f"chown {USER}: ~{USER}"),
        "subordinate-ids": file("/etc/subuid", f"sed -i /^{USER}:/d"),
        "repository-readable": Broken(f"chmod -R g-rwx {REPOSITORY}", f"chmod -R g+rX {REPOSITORY}"),
        "gate": Broken(f"systemctl stop {GATE}", f"systemctl start {GATE}"),
        "push-options": file(f"{REPOSITORY}/config", "sed -i /advertisePushOptions/d"),
    },
    "all is masked": {
        "daemon": Broken("systemctl stop tinyci && systemctl mask -q tinyci", "systemctl unmask -q tinyci"),
        "polkit": Broken(
            "systemctl mask -q polkit && systemctl stop polkit",
            "systemctl unmask -q polkit; systemctl reset-failed polkit 2>/dev/null; systemctl restart polkit",
        ),
        "gate": Broken(
            f"systemctl stop {GATE} && systemctl mask -q {GATE}", f"systemctl unmask -q {GATE}; systemctl start {GATE}"
        ),
        "files-rights": Broken("chmod 700 /opt/tinyci", "chmod 755 /opt/tinyci"),
        "stages": Broken(":", ":"),
        "configuration-rights": file(TOML, f"chown {USER}"),
        "repository": Broken(
            f"mv {REPOSITORY} /srv/git/kept.git",
            f"[ ! -e /srv/git/kept.git ] || {{ rm -rf {REPOSITORY} && mv /srv/git/kept.git {REPOSITORY}; }}",
        ),
    },
    "Redis is stopped": {
        "redis": Broken(f"systemctl stop {REDIS}", f"systemctl start {REDIS}"),
        "spool": Broken(
            "chmod 755 /var/spool/tinyci && chown root: /var/spool/tinyci",
            "systemd-tmpfiles --create /etc/tmpfiles.d/tinyci.conf",
        ),
        "podman": Broken(
            f"install -d -o root -m 700 ~{USER}/.local/share/containers/storage/doctor && "
            f"chown root: ~{USER}/.local/share/containers/storage",
            f"chown {USER}: ~{USER}/.local/share/containers/storage; "
            f"rm -rf ~{USER}/.local/share/containers/storage/doctor",
        ),
    },
    "Redis lets everybody do everything, and keeps nothing": {
        "redis-persistence": Broken(
            f"systemctl stop {REDIS} && mkdir -p {KEPT} && cp -a {DATA} {CONFIG} {KEPT} && "
            f"sed -i 's/^appendonly yes/appendonly no/' {CONFIG} && echo 'maxmemory 100mb' >>{CONFIG} && "
            f"echo 'maxmemory-policy allkeys-lru' >>{CONFIG}",
            f"[ ! -e {KEPT}/redis-tinyci.conf ] || {{ systemctl stop {REDIS} && rm -rf {DATA} && "
            f"mv {KEPT}/redis-tinyci {DATA} && mv {KEPT}/redis-tinyci.conf {CONFIG}; }}\n{AGAIN}",
        ),
        "redis-memory": Broken(":", ":"),
        "redis-acl-hook": file(
            ACL,
            "sed -i -e '/^user hook /s/$/ ~* +@all/' -e '/^user notify /d' -e '/^user web /s/#[0-9a-f]*/>other/'",
            AGAIN,
        ),
        "redis-acl-notify": Broken(":", ":"),
        "redis-acl-web": Broken(":", ":"),
    },
    "files are gone": {
        "files": file(
            "/usr/share/polkit-1/actions/org.tinyci1.policy",
            "rm /opt/tinyci/hooks/post-receive /etc/tmpfiles.d/tinyci.conf /etc/sysusers.d/tinyci.conf "
            "/usr/local/lib/systemd/user/tinyci-verify@.service",
            f"systemctl reset-failed polkit; systemctl restart polkit; systemctl --user -M {USER}@ daemon-reload",
        ),
        "polkit-actions": Broken(":", ":"),
        "templates": Broken(":", ":"),
        "hook-runs": Broken(":", ":"),
        "redis-password-hook": file("/etc/tinyci/credentials/redis-hook", "rm"),
        "redis-acl-hook": file(ACL, ":", AGAIN),
    },
    "policies are gone": {
        "polkit-rules": file(f"{RULES}/50-tinyci.rules", "echo >"),
        "polkit-actions": file(
            "/usr/share/polkit-1/actions/org.tinyci1.policy",
            "sed -i s/unix-user:tinyci/unix-user:nobody/",
            "systemctl reset-failed polkit; systemctl restart polkit",
        ),
        "bus": file("/etc/dbus-1/system.d/org.tinyci1.conf", "rm", "systemctl reload dbus"),
        "spool": file("/var/spool/tinyci", "rm -r"),
    },
    "the daemon is let do everything": {
        "polkit-rules": append(
            f"{RULES}/50-tinyci.rules",
            'polkit.addRule(function (action, subject) { if (subject.user === "tinyci") return polkit.Result.YES; });',
            "systemctl reset-failed polkit; systemctl restart polkit",
        ),
        "gate-filter": drop_in(
            "tinyci-gate@.service",
            "[Service]\\nExecStart=\\nExecStart=/usr/bin/xdg-dbus-proxy unix:path=/run/user/%%i/bus "
            "/run/tinyci-gate/%%i/bus\\n",
            f"systemctl restart {GATE}",
        ),
        "gate-tried": Broken(":", ":"),
        "daemon-journal": drop_in(
            "tinyci.service",
            "[Service]\\nSupplementaryGroups=\\nSupplementaryGroups=tinyci-redis\\n",
            "systemctl restart tinyci; gpasswd -d tinyci systemd-journal || true",
        ),
        "daemon-configuration": append(TOML, 'timeout = "31min"'),
    },
    "the system bus is down": {
        "system-bus": Broken(
            "systemctl stop tinyci dbus.socket dbus.service",
            "systemctl start dbus.socket dbus.service; systemctl try-restart systemd-logind polkit",
        ),
        "daemon": Broken(":", ":"),
    },
    "things are gone": {
        "accounts": Broken(
            f"mkdir -p {KEPT} && cp -a /etc/group {KEPT} && sed -i /^tinyci-push:/d /etc/group",
            # The group that the mend makes has another id.
            f"[ ! -e {KEPT}/group ] || mv {KEPT}/group /etc/group\n"
            "chgrp tinyci-push /etc/tinyci/credentials/redis-hook /var/spool/tinyci && chmod 1730 /var/spool/tinyci",
        ),
        "push-groups": file("/etc/gshadow", "sed -i /^tinyci-push:/d"),
        "redis-password-daemon": file("/etc/tinyci/credentials/redis-daemon", "rm"),
        "redis-acl-daemon": file(ACL, ":", AGAIN),
        "home": Broken(
            f"mv ~{USER} {KEPT}/home", f"[ ! -e {KEPT}/home ] || {{ rm -rf ~{USER} && mv {KEPT}/home ~{USER}; }}"
        ),
    },
    "the user's manager is not as it should be": {
        "journal-rate": drop_in(
            "user@.service",
            "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n",
            f"systemctl restart user@$uid.service; {UP}",
        ),
        "runtime-directory": Broken("rm /run/user/$uid/bus", f"systemctl restart user@$uid.service; {UP}"),
    },
    "the user's manager is down": {
        "manager": Broken("systemctl stop user@$uid.service", f"systemctl start user@$uid.service; {UP}"),
        "gate": Broken(f"systemctl disable -q {GATE}", f"systemctl enable -q --now {GATE}"),
        "daemon-spool": Broken(
            "chown root: /var/spool/tinyci && chmod 700 /var/spool/tinyci",
            "systemd-tmpfiles --create /etc/tmpfiles.d/tinyci.conf",
        ),
    },
}


@contextmanager
def broken(box: Box, breaks: Mapping[str, Broken]) -> Iterator[None]:
    """Something is wrong, and afterwards all is as it was."""
    begin = f"export uid=$(id -u {USER})"
    try:
        box.sh("\n".join((begin, "set -ex", *(each.do for each in breaks.values()))))
        yield
    finally:
        undo = (each.undo for each in reversed(breaks.values()))
        done = box.run("\n".join((begin, "set -x", *undo, WELL)))
        assert done.status == 0, done.text


def log_in_again(box: Box) -> None:
    """A connection that is kept has the groups that git was in when it was made."""
    config = subprocess.run([HOST, "ssh-config", box.name], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["ssh", "-F", config, "-l", "git", "-O", "exit", box.name], capture_output=True, check=False)


@pytest.fixture
def deployed(box: Box, work: Callable[[str], Work]) -> Callable[[], None]:
    """Push, and see it deployed."""

    def deploy() -> None:
        clone = work(REPO)
        clone.script("true")
        log_in_again(box)
        job = box.deploy(clone)
        assert job["state"] == "succeeded", job

    return deploy


def test_a_fresh_host_is_well(box: Box) -> None:
    box.sh("rm -f /var/spool/tinyci/*.bad")  # of tests that put there what is no job
    seen = doctor(box, "")
    assert not wrong(seen)
    assert [each for each in seen if each.verdict == "unchecked"] == []
    abouts = {each.about for each in seen}
    assert {"host", "user hello-quadlet", "user root", "repo hello-root", "repo hello-generated"} <= abouts


@pytest.mark.parametrize("name", ROUNDS)
def test_what_is_wrong_is_named_and_mended_as_printed(box: Box, name: str, deployed: Callable[[], None]) -> None:
    breaks = ROUNDS[name]
    with broken(box, breaks):
        seen = doctor(box, REPO)
        assert set(breaks) <= {each.check for each in wrong(seen)}, wrong(seen)
        assert all(each.mend for each in wrong(seen) if each.check in breaks), wrong(seen)
        mend(box, seen)
        assert not wrong(doctor(box, REPO))
        deployed()
    assert not wrong(doctor(box, REPO))


# What a person has to decide: named, with what to decide, and without a command that guesses.
DECIDE: Mapping[str, tuple[Broken, str]] = {
    "configuration": (append("/etc/tinyci/tinyci.toml", "parallell = 3"), "parallell: no such key"),
    "daemon": (
        append("/etc/tinyci/tinyci.toml", "parallell = 3", "systemctl restart tinyci || true"),
        "fails at every start",
    ),
    "polkit-rules": (
        Broken(
            'echo \'polkit.addRule(function (action, subject) { if (subject.user === "tinyci") '
            f"return polkit.Result.YES; }});' >{RULES}/05-doctor.rules && {{ systemctl reset-failed polkit; "
            "systemctl restart polkit; }",
            f"rm -f {RULES}/05-doctor.rules; systemctl restart polkit",
        ),
        "as good as root",
    ),
    "repository": (file(f"{REPOSITORY}/HEAD", "rm"), "HEAD is not in it"),
    "spool-backlog": (Broken("touch /var/spool/tinyci/x.bad", "rm -f /var/spool/tinyci/x.bad"), "x.bad"),
    "space": (
        Broken(
            "findmnt -no SIZE -b /run/user/$uid >/run/doctor-size && mount -o remount,size=1M /run/user/$uid",
            "mount -o remount,size=$(cat /run/doctor-size) /run/user/$uid; rm /run/doctor-size",
        ),
        "remove what is not needed",
    ),
}


@pytest.mark.parametrize("check", DECIDE)
def test_what_a_person_has_to_decide_is_told_without_a_guess(box: Box, check: str) -> None:
    done, words = DECIDE[check]
    with broken(box, {check: done}):
        found = [each for each in wrong(doctor(box, REPO)) if each.check == check]
        assert found and words in found[0].sentence and not found[0].mend, found
    assert not wrong(doctor(box, REPO))


def test_an_app_is_set_up_by_what_doctor_prints(box: Box, work: Callable[[str], Work]) -> None:
    """A repo's file alone: user, subordinate ids, manager, gate and repository come of mends."""
    name = "doctor-app"
    box.sh(
        f"cat >/etc/tinyci/repos.d/{name}.toml; chmod 644 /etc/tinyci/repos.d/{name}.toml",
        stdin=f'repository = "/srv/git/{name}.git"\nuser = "{name}"\n',
    )
    try:
        for _ in range(4):
            seen = doctor(box, name)
            if wrong(seen):
                mend(box, seen)
        assert not wrong(seen)
        clone = work(name)
        clone.script("true")
        log_in_again(box)
        assert box.deploy(clone)["state"] == "succeeded"
    finally:
        box.run(
            f"uid=$(id -u {name}) && {{ systemctl disable -q --now tinyci-gate@$uid; loginctl disable-linger {name}\n"
            f"systemctl stop user@$uid.service; userdel --remove {name}; gpasswd -d git {name}; groupdel {name}; }}\n"
            f"rm -rf /srv/git/{name}.git /etc/tinyci/repos.d/{name}.toml; systemctl reload tinyci"
        )
    assert not wrong(doctor(box, REPO))


@pytest.mark.parametrize("user", ["nobody", USER])
def test_who_is_not_root_gets_no_false_alarm(box: Box, user: str) -> None:
    seen = doctor(box, "", user)
    assert not wrong(seen)
    skipped = {each.sentence for each in seen if each.verdict == "unchecked"}
    assert skipped == {"needs root"}


def test_who_is_not_root_sees_what_the_daemon_sees(box: Box) -> None:
    with broken(box, {"gate": Broken(f"systemctl stop {GATE}", f"systemctl start {GATE}")}):
        found = {each.check: each for each in wrong(doctor(box, REPO, "nobody"))}
        assert found["gate"].mend.startswith("systemctl start tinyci-gate@")
        assert USER in found["daemon-manager"].sentence
    assert not wrong(doctor(box, REPO, "nobody"))


def test_what_does_not_exist_is_no_failure_of_the_host(box: Box) -> None:
    done = box.run("tinyci doctor nobody-knows-it")
    assert done.status == 3
    assert "there is no repo and no user nobody-knows-it: the repos are hello-generated, " in done.err


def test_for_a_pipe_there_is_one_line_for_each_finding(box: Box) -> None:
    lines = box.sh(f"tinyci doctor {REPO}").splitlines()
    assert all(len(line.split("\t")) == 5 for line in lines)
    assert f"ok\tuser {USER}\tgate" in [line.rpartition("\ttinyci-gate")[0] for line in lines]
    told = box.sh(f"script -qec 'tinyci doctor {REPO}' /dev/null")
    assert "All is well." in told and len(told.splitlines()) == 5
