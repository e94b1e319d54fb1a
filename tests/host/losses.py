"""Rounds in which files, policies or packages are missing; see tests/host/rounds.py."""

from collections.abc import Mapping

from breaking import (
    ACL,
    ACTIONS,
    AGAIN,
    COPIES,
    CREDENTIALS,
    GATE,
    GATE_AGAIN,
    GATE_UNIT,
    MANAGER_AGAIN,
    MINE,
    PACKAGES,
    PAUSE,
    POLICY,
    POLKIT,
    RATE,
    REDIS,
    RULES,
    UNITS,
    USER,
    USER_UNITS,
    VERIFY,
    Breakage,
    Round,
    file,
)

LOSSES: Mapping[str, Round] = {
    "files are gone": Round(
        (
            Breakage(
                "files/missing",
                "of tinyci's own files are missing",
                "rm /opt/tinyci/hooks/post-receive /etc/tmpfiles.d/tinyci.conf /etc/sysusers.d/tinyci.conf "
                f"{ACTIONS} {USER_UNITS}/tinyci-verify@.service {UNITS}/tinyci.service {GATE_UNIT} {RATE} {RATE}.conf\n"
                f"systemctl stop tinyci {GATE}; systemctl daemon-reload; {POLKIT}; systemctl restart user@$uid.service",
                f"tar -C / -xf /opt/tinyci/release/server.tar; systemctl daemon-reload; {RATE}; {POLKIT}; "
                f"{MINE} daemon-reload; systemctl start {GATE}",
            ),
            Breakage("daemon/not-installed", "is not installed"),
            Breakage("gate/not-installed", "is not installed"),
            Breakage("polkit-actions/unknown", "does not know tinyci's action"),
            Breakage("journal-rate/no-drop-in", "journald drops what a build of"),
            Breakage("templates/unknown", "does not know"),
            Breakage("hook-runs/missing", "is missing: no job comes"),
            Breakage("redis-password-hook/missing", "cannot log in to Redis", *file(f"{CREDENTIALS}/redis-hook", "rm")),
            Breakage("redis-acl-hook/login", "Redis does not let in", *file(ACL, ":", AGAIN)),
        )
    ),
    "policies are gone": Round(
        (
            Breakage("polkit-rules/deny", "does not let the daemon", *file(f"{RULES}/50-tinyci.rules", "echo >")),
            Breakage(
                "polkit-actions/unknown",
                "does not know tinyci's action",
                *file(ACTIONS, "sed -i s/unix-user:tinyci/unix-user:nobody/", POLKIT),
            ),
            Breakage("bus/denied", "is missing or not loaded", *file(POLICY, "rm", "systemctl reload dbus")),
            Breakage("spool/missing", "is missing: a push", *file("/var/spool/tinyci", "rm -r")),
            Breakage(
                "gate-filter/narrow", "does not pass what", *file(GATE_UNIT, "sed -i /Manager.LoadUnit@/d", GATE_AGAIN)
            ),
            Breakage("gate-tried/denies", "does not come through"),
            Breakage(
                "podman/no-id-maps",
                "newuidmap or newgidmap",
                f"chmod u-s /usr/bin/newuidmap; ! [ -s {PAUSE} ] || kill -KILL $(cat {PAUSE})",
                "chmod u+s /usr/bin/newuidmap",
            ),
            # Its manager has the file in its memory only while it has an instance.
            Breakage(
                "templates/changed",
                "has changed on disk",
                f"! {MINE} start {VERIFY} && touch -d '+1 minute' {USER_UNITS}/tinyci-verify@.service",
                f"touch {USER_UNITS}/tinyci-verify@.service; {MINE} daemon-reload; {MINE} reset-failed {VERIFY}",
            ),
        )
    ),
    "things are gone": Round(
        (
            Breakage(
                "accounts/missing",
                "tinyci runs as these",
                f"mkdir -p {COPIES} && cp -a /etc/group {COPIES} && sed -i /^tinyci-push:/d /etc/group",
                # The group that the mend makes has another id.
                f"[ ! -e {COPIES}/group ] || mv {COPIES}/group /etc/group\n"
                f"chgrp tinyci-push {CREDENTIALS}/redis-hook /var/spool/tinyci && chmod 1730 /var/spool/tinyci",
            ),
            Breakage("push-groups/missing", "cannot make jobs", *file("/etc/gshadow", "sed -i /^tinyci-push:/d")),
            Breakage(
                "redis-password-daemon/missing", "cannot log in to Redis", *file(f"{CREDENTIALS}/redis-daemon", "rm")
            ),
            Breakage("redis-acl-daemon/login", "Redis does not let in", *file(ACL, ":", AGAIN)),
            Breakage(
                "redis-password-notify/missing", "cannot log in to Redis", *file(f"{CREDENTIALS}/redis-notify", "rm")
            ),
            Breakage(
                "home/missing",
                "is missing",
                f"mv ~{USER} {COPIES}/home",
                f"[ ! -e {COPIES}/home ] || {{ rm -rf ~{USER} && mv {COPIES}/home ~{USER}; }}",
            ),
        )
    ),
    "packages are gone": Round(
        (
            Breakage(
                "redis/not-installed",
                "is not installed",
                f"apt-get remove -qq --yes {PACKAGES} && systemctl stop {REDIS} polkit\n"
                "systemctl restart user@$uid.service",
                f"apt-get install -qq --yes --no-install-recommends {PACKAGES}; {MANAGER_AGAIN}",
            ),
            Breakage("libraries/missing", "imports what is not installed"),
            Breakage("polkit/not-installed", "is not installed"),
            Breakage("daemon-polkit/silent", "polkit does not answer the daemon"),
            Breakage("runtime-directory/no-package", "dbus-user-session is not installed"),
            Breakage("podman/not-installed", "podman is not installed"),
            Breakage("gate/no-proxy", "xdg-dbus-proxy is not installed"),
            Breakage("git/not-installed", "git is not installed"),
        )
    ),
    "no repo is known": Round(
        (Breakage("configuration-rights/no-repos", "tinyci knows no repo", *file("/etc/tinyci/repos.d", "rm -r")),),
        USER,
        "",
    ),
}
