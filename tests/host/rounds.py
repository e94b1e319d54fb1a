"""Problems that a command can mend, by rounds of breakages that happen at once.

With tests/host/decisions.py these are all that doctor knows (tests/unit/test_breakage.py holds them together).
"""

from collections.abc import Mapping

from breaking import (
    ACL,
    AGAIN,
    CONFIG,
    COPIES,
    CREDENTIALS,
    DATA,
    GATE,
    MANAGER_AGAIN,
    MINE,
    PAUSE,
    POLKIT,
    RATE,
    REDIS,
    REPOSITORY,
    RULES,
    TMPFILES,
    TOML,
    UNITS,
    UP,
    USER,
    USER_UNITS,
    Breakage,
    Round,
    append,
    drop_in,
    file,
    sshd,
)
from losses import LOSSES
from outages import OUTAGES

DROP_IN = "/etc/systemd/system/user@{}.service.d/50-tinyci.conf"
EARLIER = "/usr/local/lib/systemd/system/user@.service.d/50-tinyci.conf"

ROUNDS: Mapping[str, Round] = {
    "what a person let slip": Round(
        (
            Breakage("configuration-rights/unreadable", "cannot read it", *file(TOML, "chmod 600")),
            Breakage(
                "redis-enabled/disabled",
                "is not enabled",
                f"systemctl disable -q {REDIS}",
                f"systemctl enable -q {REDIS}",
            ),
            Breakage("redis-password-web/rights", ", expected ", *file(f"{CREDENTIALS}/redis-web", "chmod 644")),
            Breakage("redis-password-notify/rights", ", expected ", *file(f"{CREDENTIALS}/redis-notify", "chmod 644")),
            Breakage("redis-password-hook/rights", ", expected ", *file(f"{CREDENTIALS}/redis-hook", "chgrp root")),
            Breakage(
                "daemon-enabled/disabled", "is not enabled", "systemctl disable -q tinyci", "systemctl enable -q tinyci"
            ),
            Breakage(
                "queue/paused",
                "the queue is paused",
                "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Pause",
                "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Resume",
            ),
            Breakage(
                "gate-enabled/disabled", "is not enabled", f"systemctl disable -q {GATE}", f"systemctl enable -q {GATE}"
            ),
            Breakage(
                "journal-rate/no-drop-in",
                "without which journald drops",
                f"rm {DROP_IN.format('$uid')} && systemctl daemon-reload",
                RATE,
            ),
            # As an earlier version had it, for all users, and for one who is gone.
            Breakage(
                "journal-limit/lifted",
                f"{EARLIER}, {DROP_IN.format(7)}",
                f"mkdir -p $(dirname {EARLIER} {DROP_IN.format(7)}) && cp {RATE}.conf {EARLIER} && "
                f"ln -s {RATE}.conf {DROP_IN.format(7)}",
                RATE,
            ),
            Breakage(
                "templates/masked",
                "is masked in the manager of",
                f"{MINE} mask -q tinyci-build@.service",
                f"{MINE} unmask -q tinyci-build@.service",
            ),
            Breakage("daemon-unit/unusable", "cannot run", by="templates"),
            *(
                Breakage(
                    f"{stage}-limit/short",
                    f"ends a {stage} after",
                    *drop_in(f"tinyci-{stage}@.service", "[Service]\\nTimeoutStartSec=1min\\n", where="user"),
                )
                for stage in ("build", "verify", "rollback")
            ),
            Breakage(
                "repository-private/open", "is open to more", f"chmod o+rx {REPOSITORY}", f"chmod 2750 {REPOSITORY}"
            ),
            Breakage(
                "repository-owned/foreign",
                "git fails in a push that has to change it",
                f"install -d -o root -g {USER} -m 2750 {REPOSITORY}/objects/00",
                f"rmdir {REPOSITORY}/objects/00 2>/dev/null || true",
            ),
            Breakage(
                "push-groups/missing", "cannot make jobs", "gpasswd -d git tinyci-push", "gpasswd -a git tinyci-push"
            ),
            Breakage(
                "push-shell/refuses",
                "has the shell",
                "usermod -s /usr/sbin/nologin git",
                "usermod -s /usr/bin/git-shell git",
            ),
            Breakage("push-ssh/refuses", "lets in root alone", *sshd("AllowUsers root", "allowusers")),
            Breakage(
                "push-ssh/keys-elsewhere", "where there are none", *sshd("AuthorizedKeysFile /etc/ssh/keys/%u", "keys")
            ),
            Breakage("push-ssh/locked", "whose account is locked", *sshd("UsePAM no", "pam", "usermod -p ! git")),
            Breakage("hook/foreign", "not tinyci's hook", *file(f"{REPOSITORY}/config", "sed -i /hooksPath/d")),
            Breakage(
                "hook-runs/not-executable",
                "is not executable",
                "chmod 644 /opt/tinyci/hooks/post-receive",
                "chmod 755 /opt/tinyci/hooks/post-receive",
            ),
        )
    ),
    **OUTAGES,
    "Redis lets everybody do everything, and keeps nothing": Round(
        (
            # The daemon read the file while it was wrong.
            Breakage(
                "daemon-configuration/repo-invalid",
                "the repo's file is wrong",
                f"mkdir -p {COPIES} && cp -a {TOML} {COPIES}/toml && echo wrong >>{TOML} && systemctl reload tinyci\n"
                f"timeout 20 sh -c 'until systemctl show -P StatusText tinyci | grep wrong; do sleep 0.05; done'\n"
                f"mv {COPIES}/toml {TOML}",
                f"[ ! -e {COPIES}/toml ] || mv {COPIES}/toml {TOML}",
            ),
            Breakage(
                "redis-persistence/off",
                "keeps nothing on disk",
                f"systemctl stop {REDIS} && mkdir -p {COPIES} && cp -a {DATA} {CONFIG} {COPIES} && "
                f"sed -i 's/^appendonly yes/appendonly no/' {CONFIG} && echo 'maxmemory 100mb' >>{CONFIG} && "
                f"echo 'maxmemory-policy allkeys-lru' >>{CONFIG}",
                f"[ ! -e {COPIES}/redis-tinyci.conf ] || {{ systemctl stop {REDIS} && rm -rf {DATA} && "
                f"mv {COPIES}/redis-tinyci {DATA} && mv {COPIES}/redis-tinyci.conf {CONFIG}; }}\n{AGAIN}",
            ),
            Breakage("redis-memory/evicts", "throws jobs away"),
            Breakage(
                "redis-acl-hook/grants",
                "do more than it should",
                *file(
                    ACL,
                    "sed -i -e '/^user hook /s/$/ ~* +@all/' -e '/^user notify /d' -e '/^user daemon /s/+@write//' "
                    "-e '/^user web /s/#[0-9a-f]*/>other/'",
                    AGAIN,
                ),
            ),
            Breakage("redis-acl-notify/login", "Redis does not let in"),
            Breakage("redis-acl-web/login", "Redis does not let in"),
            Breakage("redis-acl-daemon/denies", "do what it has to"),
        )
    ),
    "the daemon is let do everything": Round(
        (
            Breakage(
                "polkit-rules/grant",
                "do more than it should",
                *append(
                    f"{RULES}/50-tinyci.rules",
                    'polkit.addRule(function (action, subject) { if (subject.user === "tinyci") '
                    "return polkit.Result.YES; });",
                    POLKIT,
                ),
            ),
            Breakage(
                "gate-filter/none",
                "passes everything",
                *drop_in(
                    "tinyci-gate@.service",
                    "[Service]\\nExecStart=\\nExecStart=/usr/bin/xdg-dbus-proxy unix:path=/run/user/%%i/bus "
                    "/run/tinyci-gate/%%i/bus\\n",
                    f"systemctl restart {GATE}",
                ),
            ),
            Breakage("gate-tried/grants", "passed StartTransientUnit"),
            Breakage(
                "daemon-journal/unreadable",
                "jobs have no output",
                *drop_in(
                    "tinyci.service",
                    "[Service]\\nSupplementaryGroups=\\nSupplementaryGroups=tinyci-redis\\n",
                    "systemctl restart tinyci; gpasswd -d tinyci systemd-journal || true",
                ),
            ),
            Breakage("daemon-configuration/changed", "have changed since", *append(TOML, 'timeout = "31min"')),
            Breakage(
                "podman/pause-process",
                "takes a process of",
                f"systemd-run -q --uid={USER} --unit=doctor-sleep sleep 600\n"
                f"install -d -o {USER} /run/user/$uid/libpod /run/user/$uid/libpod/tmp\n"
                f"printf %s $(systemctl show -P MainPID doctor-sleep) >{PAUSE}",
                f"systemctl stop doctor-sleep; rm -f {PAUSE}",
            ),
            Breakage(
                "templates/unloadable",
                "cannot load",
                *file(f"{USER_UNITS}/tinyci-verify@.service", "sed -i /^ExecStart=/d", f"{MINE} daemon-reload"),
            ),
        )
    ),
    "the user's manager is not as it should be": Round(
        (
            Breakage(
                "journal-rate/low",
                "journald drops what a build of",
                *drop_in(
                    "user@.service", "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n", MANAGER_AGAIN
                ),
            ),
            Breakage(
                "runtime-directory/no-bus",
                "its manager cannot be asked",
                "rm /run/user/$uid/bus",
                MANAGER_AGAIN,
            ),
            Breakage(
                "daemon/unloadable",
                "systemd cannot load",
                *file(f"{UNITS}/tinyci.service", "sed -i /^ExecStart=/d", "systemctl daemon-reload"),
            ),
        )
    ),
    "the user's manager runs as it was set before": Round(
        (
            Breakage(
                "journal-rate/not-applied",
                "journald drops what a build of",
                *drop_in(
                    "user@.service",
                    "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n",
                    f"{MANAGER_AGAIN}; rm -f /etc/systemd/system/user@.service.d/doctor.conf; systemctl daemon-reload",
                ),
            ),
            Breakage("runtime-directory/missing", "is not there for", "umount -l /run/user/$uid", MANAGER_AGAIN),
        )
    ),
    "the user's manager is down": Round(
        (
            Breakage(
                "manager/down",
                "is not up",
                "systemctl stop user@$uid.service",
                f"systemctl start user@$uid.service; {UP}",
            ),
            Breakage("gate/down", "is not up", f"systemctl disable -q {GATE}", f"systemctl enable -q --now {GATE}"),
            # Here, since a manager that does not linger ends by itself some seconds after the last look into it.
            Breakage(
                "linger/off", "does not linger", f"rm /var/lib/systemd/linger/{USER}", f"loginctl enable-linger {USER}"
            ),
            Breakage("daemon-manager/unreachable", "has no gate", by="manager"),
            Breakage(
                "daemon-spool/closed",
                "cannot take in",
                "chown root: /var/spool/tinyci && chmod 700 /var/spool/tinyci",
                TMPFILES,
            ),
        )
    ),
    "what root's builds need": Round(
        (
            Breakage(
                "journal-rate/root-low",
                "sets too low a",
                *drop_in("tinyci-build@.service", "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n"),
            ),
            Breakage(
                "templates/unknown",
                "does not know",
                *file(f"{UNITS}/tinyci-rollback@.service", "rm", "systemctl daemon-reload"),
            ),
        ),
        "probe-root",
        "probe-root",
    ),
    **LOSSES,
}

# A repo's file alone, and all else by what doctor prints (test_an_app_is_set_up_by_what_doctor_prints).
SET_UP = (
    Breakage("daemon-configuration/repo-unknown", "does not know of it yet"),
    Breakage("user/missing", "there is no user"),
    Breakage("linger/off", "does not linger"),
    Breakage("subordinate-ids/missing", "subordinate ids in"),
    Breakage("gate/down", "is not up"),
    Breakage("journal-rate/no-drop-in", "without which journald drops"),
    Breakage("repository/missing", "there is nothing to push to"),
)
