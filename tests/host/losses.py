"""Rounds in which something is gone; see tests/host/rounds.py."""

from collections.abc import Mapping

from breaking import (
    ACL,
    ACTIONS,
    AGAIN,
    CREDENTIALS,
    GATE,
    GATE_AGAIN,
    GATE_UNIT,
    KEPT,
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
    Broken,
    Round,
    file,
)

LOSSES: Mapping[str, Round] = {
    "files are gone": Round(
        (
            Broken(
                "files/missing",
                "of tinyci's own files are missing",
                "rm /opt/tinyci/hooks/post-receive /etc/tmpfiles.d/tinyci.conf /etc/sysusers.d/tinyci.conf "
                f"{ACTIONS} {USER_UNITS}/tinyci-verify@.service {UNITS}/tinyci.service {GATE_UNIT} {RATE}\n"
                f"systemctl stop tinyci {GATE}; systemctl daemon-reload; {POLKIT}; systemctl restart user@$uid.service",
                f"tar -C / -xf /opt/tinyci/release/server.tar; systemctl daemon-reload; {POLKIT}; "
                f"{MINE} daemon-reload; systemctl start {GATE}",
            ),
            Broken("daemon/not-installed", "is not installed"),
            Broken("gate/not-installed", "is not installed"),
            Broken("polkit-actions/unknown", "does not know tinyci's action"),
            Broken("journal-rate/low", "journald drops what a build of"),
            Broken("templates/unknown", "does not know"),
            Broken("hook-runs/missing", "is missing: no job comes"),
            Broken("redis-password-hook/missing", "cannot log in to Redis", *file(f"{CREDENTIALS}/redis-hook", "rm")),
            Broken("redis-acl-hook/login", "Redis does not let in", *file(ACL, ":", AGAIN)),
        )
    ),
    "policies are gone": Round(
        (
            Broken("polkit-rules/deny", "does not let the daemon", *file(f"{RULES}/50-tinyci.rules", "echo >")),
            Broken(
                "polkit-actions/unknown",
                "does not know tinyci's action",
                *file(ACTIONS, "sed -i s/unix-user:tinyci/unix-user:nobody/", POLKIT),
            ),
            Broken("bus/denied", "is missing or not loaded", *file(POLICY, "rm", "systemctl reload dbus")),
            Broken("spool/missing", "is missing: a push", *file("/var/spool/tinyci", "rm -r")),
            Broken(
                "gate-filter/narrow", "does not pass what", *file(GATE_UNIT, "sed -i /Manager.LoadUnit@/d", GATE_AGAIN)
            ),
            Broken("gate-tried/denies", "does not come through"),
            Broken(
                "podman/no-id-maps",
                "newuidmap or newgidmap",
                f"chmod u-s /usr/bin/newuidmap; ! [ -s {PAUSE} ] || kill -KILL $(cat {PAUSE})",
                "chmod u+s /usr/bin/newuidmap",
            ),
            # Its manager has the file in its memory only while it has an instance.
            Broken(
                "templates/changed",
                "has changed on disk",
                f"! {MINE} start {VERIFY} && touch -d '+1 minute' {USER_UNITS}/tinyci-verify@.service",
                f"touch {USER_UNITS}/tinyci-verify@.service; {MINE} daemon-reload; {MINE} reset-failed {VERIFY}",
            ),
        )
    ),
    "things are gone": Round(
        (
            Broken(
                "accounts/missing",
                "tinyci runs as these",
                f"mkdir -p {KEPT} && cp -a /etc/group {KEPT} && sed -i /^tinyci-push:/d /etc/group",
                # The group that the mend makes has another id.
                f"[ ! -e {KEPT}/group ] || mv {KEPT}/group /etc/group\n"
                f"chgrp tinyci-push {CREDENTIALS}/redis-hook /var/spool/tinyci && chmod 1730 /var/spool/tinyci",
            ),
            Broken("push-groups/missing", "cannot make jobs", *file("/etc/gshadow", "sed -i /^tinyci-push:/d")),
            Broken(
                "redis-password-daemon/missing", "cannot log in to Redis", *file(f"{CREDENTIALS}/redis-daemon", "rm")
            ),
            Broken("redis-acl-daemon/login", "Redis does not let in", *file(ACL, ":", AGAIN)),
            Broken(
                "redis-password-notify/missing", "cannot log in to Redis", *file(f"{CREDENTIALS}/redis-notify", "rm")
            ),
            Broken(
                "home/missing",
                "is missing",
                f"mv ~{USER} {KEPT}/home",
                f"[ ! -e {KEPT}/home ] || {{ rm -rf ~{USER} && mv {KEPT}/home ~{USER}; }}",
            ),
        )
    ),
    "packages are gone": Round(
        (
            Broken(
                "redis/not-installed",
                "is not installed",
                f"apt-get remove -qq --yes {PACKAGES} && systemctl stop {REDIS} polkit\n"
                "systemctl restart user@$uid.service",
                f"apt-get install -qq --yes --no-install-recommends {PACKAGES}; {MANAGER_AGAIN}",
            ),
            Broken("libraries/missing", "imports what is not installed"),
            Broken("polkit/not-installed", "is not installed"),
            Broken("daemon-polkit/silent", "polkit does not answer the daemon"),
            Broken("runtime-directory/no-package", "dbus-user-session is not installed"),
            Broken("podman/not-installed", "podman is not installed"),
            Broken("gate/no-proxy", "xdg-dbus-proxy is not installed"),
            Broken("git/not-installed", "git is not installed"),
        )
    ),
    "no repo is known": Round(
        (Broken("configuration-rights/no-repos", "tinyci knows no repo", *file("/etc/tinyci/repos.d", "rm -r")),),
        USER,
        "",
    ),
}
