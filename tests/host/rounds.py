"""Failures that a command can mend, by rounds: what is broken at once, and by which check it has to be named.

With tests/host/decisions.py these are all that doctor knows (tests/unit/test_breakage.py holds them together).
"""

from collections.abc import Mapping

from breaking import (
    ACL,
    AGAIN,
    CODE,
    CONFIG,
    CREDENTIALS,
    DATA,
    GATE,
    GATE_AGAIN,
    GATE_UNIT,
    INSTALL,
    KEPT,
    MANAGER_AGAIN,
    MINE,
    PAUSE,
    POLICY,
    POLKIT,
    REDIS,
    REPO,
    REPOSITORY,
    RULES,
    TMPFILES,
    TOML,
    UNITS,
    UP,
    USER,
    USER_UNITS,
    Broken,
    Round,
    append,
    drop_in,
    file,
)
from losses import LOSSES


def failed(unit: str) -> tuple[str, str]:
    """Killed, with nothing to start it again."""
    do, undo = drop_in(unit, "[Service]\\nRestart=no\\n")
    killed = f"timeout 20 sh -c 'until systemctl is-failed -q {unit}; do sleep 0.05; done'"
    return f"{do}systemctl kill -s KILL {unit} && {killed}", f"{undo}systemctl restart {unit}"


ROUNDS: Mapping[str, Round] = {
    "what a person let slip": Round(
        (
            Broken("configuration-rights/unreadable", "cannot read it", *file(TOML, "chmod 600")),
            Broken(
                "redis-enabled/disabled",
                "is not enabled",
                f"systemctl disable -q {REDIS}",
                f"systemctl enable -q {REDIS}",
            ),
            Broken("redis-password-web/rights", ", expected ", *file(f"{CREDENTIALS}/redis-web", "chmod 644")),
            Broken("redis-password-notify/rights", ", expected ", *file(f"{CREDENTIALS}/redis-notify", "chmod 644")),
            Broken("redis-password-hook/rights", ", expected ", *file(f"{CREDENTIALS}/redis-hook", "chgrp root")),
            Broken(
                "daemon-enabled/disabled", "is not enabled", "systemctl disable -q tinyci", "systemctl enable -q tinyci"
            ),
            Broken(
                "queue/paused",
                "the queue is paused",
                "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Pause",
                "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Resume",
            ),
            Broken(
                "gate-enabled/disabled", "is not enabled", f"systemctl disable -q {GATE}", f"systemctl enable -q {GATE}"
            ),
            Broken(
                "templates/masked",
                "is masked in the manager of",
                f"{MINE} mask -q tinyci-build@.service",
                f"{MINE} unmask -q tinyci-build@.service",
            ),
            Broken("daemon-unit/unusable", "cannot run", by="templates"),
            Broken(
                "build-limit/short",
                "ends a build after",
                *drop_in("tinyci-build@.service", "[Service]\\nTimeoutStartSec=1min\\n", where="user"),
            ),
            Broken(
                "repository-private/open", "is open to more", f"chmod o+rx {REPOSITORY}", f"chmod 2750 {REPOSITORY}"
            ),
            Broken(
                "repository-owned/foreign",
                "git fails in a push that has to change it",
                f"install -d -o root -g {USER} -m 2750 {REPOSITORY}/objects/00",
                f"rmdir {REPOSITORY}/objects/00 2>/dev/null || true",
            ),
            Broken(
                "push-groups/missing", "cannot make jobs", "gpasswd -d git tinyci-push", "gpasswd -a git tinyci-push"
            ),
            Broken(
                "push-shell/refuses",
                "has the shell",
                "usermod -s /usr/sbin/nologin git",
                "usermod -s /usr/bin/git-shell git",
            ),
            Broken("hook/foreign", "not tinyci's hook", *file(f"{REPOSITORY}/config", "sed -i /hooksPath/d")),
            Broken(
                "hook-runs/not-executable",
                "is not executable",
                "chmod 644 /opt/tinyci/hooks/post-receive",
                "chmod 755 /opt/tinyci/hooks/post-receive",
            ),
        )
    ),
    "the daemon is stopped": Round(
        (
            Broken(
                "spool-backlog/late",
                "wait in",
                "systemctl stop tinyci\n"
                "cd /var/spool/tinyci && id=$(cat /proc/sys/kernel/random/uuid) && f=0000000000000001-0001-$id.json && "
                f'echo "{{\\"id\\": \\"$id\\", \\"repo\\": \\"{REPO}\\", \\"ref\\": \\"refs/heads/master\\", '
                '\\"revision\\": \\"$(printf %040d 1)\\"}" >$f && chmod 644 $f && touch -d "5 minutes ago" $f',
                "rm -f /var/spool/tinyci/0000000000000001-0001-*",
            ),
            Broken("daemon/down", "is not up", "systemctl stop tinyci"),
            Broken(
                "configuration-rights/writable", "who may write it", *file(TOML, f"chmod 600 {TOML} && chown {USER}:")
            ),
            Broken("hook-runs/complains", "the hook fails when", by="configuration-rights"),
            Broken("home/rights", "cannot keep images", f"chown root: ~{USER}", f"chown {USER}: ~{USER}"),
            Broken("subordinate-ids/missing", "subordinate ids in", *file("/etc/subuid", f"sed -i /^{USER}:/d")),
            Broken(
                "repository-readable/unreadable",
                "its builds check out from there",
                f"chmod -R g-rwx {REPOSITORY}",
                f"chmod -R g+rX {REPOSITORY}",
            ),
            Broken("gate/down", "is not up", f"systemctl stop {GATE}", f"systemctl start {GATE}"),
            Broken(
                "push-options/off",
                "takes no push options",
                *file(f"{REPOSITORY}/config", "sed -i /advertisePushOptions/d"),
            ),
        )
    ),
    "all is masked": Round(
        (
            Broken(
                "redis/masked",
                "is masked",
                f"systemctl stop {REDIS}; systemctl mask -q {REDIS}",
                f"systemctl unmask -q {REDIS}",
            ),
            Broken(
                "daemon/starts",
                "look again in a moment",
                "systemctl stop tinyci && systemctl start --no-block tinyci\n"
                "timeout 20 sh -c 'until systemctl show -P StatusText tinyci | grep Redis; do sleep 0.05; done'",
                by="redis",
            ),
            Broken(
                "polkit/masked",
                "is masked",
                "systemctl mask -q polkit && systemctl stop polkit",
                f"systemctl unmask -q polkit; {POLKIT}",
            ),
            Broken(
                "gate/masked",
                "is masked",
                f"systemctl stop {GATE} && systemctl mask -q {GATE}",
                f"systemctl unmask -q {GATE}; systemctl start {GATE}",
            ),
            Broken("files-rights/closed", "can run what is there", "chmod 700 /opt/tinyci", "chmod 755 /opt/tinyci"),
            Broken("stages/closed", "cannot run tinyci's stages"),
            Broken(
                "repository/missing",
                "there is nothing to push to",
                f"mv {REPOSITORY} /srv/git/kept.git",
                f"[ ! -e /srv/git/kept.git ] || {{ rm -rf {REPOSITORY} && mv /srv/git/kept.git {REPOSITORY}; }}",
            ),
        )
    ),
    "Redis is stopped": Round(
        (
            Broken("redis/down", "is not up", f"systemctl stop {REDIS}", f"systemctl start {REDIS}"),
            Broken("daemon-redis/silent", "Redis does not answer the daemon"),
            Broken(
                "spool/rights",
                "the hook writes there",
                "chmod 755 /var/spool/tinyci && chown root: /var/spool/tinyci",
                TMPFILES,
            ),
            Broken(
                "podman/foreign-storage",
                "podman cannot use its storage",
                f"install -d -o root -m 700 ~{USER}/.local/share/containers/storage/doctor && "
                f"chown root: ~{USER}/.local/share/containers/storage",
                f"chown {USER}: ~{USER}/.local/share/containers/storage; "
                f"rm -rf ~{USER}/.local/share/containers/storage/doctor",
            ),
            Broken("push-shell/missing", "is missing, so that", *file("/usr/bin/git-shell", "rm")),
            Broken(
                "hook-runs/closed", "the hook fails when", "chmod 700 /opt/tinyci/hooks", "chmod 755 /opt/tinyci/hooks"
            ),
        )
    ),
    "Redis lets everybody do everything, and keeps nothing": Round(
        (
            # The daemon read the file while it was wrong.
            Broken(
                "daemon-configuration/repo-invalid",
                "the repo's file is wrong",
                f"mkdir -p {KEPT} && cp -a {TOML} {KEPT}/toml && echo wrong >>{TOML} && systemctl reload tinyci\n"
                f"timeout 20 sh -c 'until systemctl show -P StatusText tinyci | grep wrong; do sleep 0.05; done'\n"
                f"mv {KEPT}/toml {TOML}",
                f"[ ! -e {KEPT}/toml ] || mv {KEPT}/toml {TOML}",
            ),
            Broken(
                "redis-persistence/off",
                "keeps nothing on disk",
                f"systemctl stop {REDIS} && mkdir -p {KEPT} && cp -a {DATA} {CONFIG} {KEPT} && "
                f"sed -i 's/^appendonly yes/appendonly no/' {CONFIG} && echo 'maxmemory 100mb' >>{CONFIG} && "
                f"echo 'maxmemory-policy allkeys-lru' >>{CONFIG}",
                f"[ ! -e {KEPT}/redis-tinyci.conf ] || {{ systemctl stop {REDIS} && rm -rf {DATA} && "
                f"mv {KEPT}/redis-tinyci {DATA} && mv {KEPT}/redis-tinyci.conf {CONFIG}; }}\n{AGAIN}",
            ),
            Broken("redis-memory/evicts", "throws jobs away"),
            Broken(
                "redis-acl-hook/grants",
                "do more than it should",
                *file(
                    ACL,
                    "sed -i -e '/^user hook /s/$/ ~* +@all/' -e '/^user notify /d' -e '/^user daemon /s/+@write//' "
                    "-e '/^user web /s/#[0-9a-f]*/>other/'",
                    AGAIN,
                ),
            ),
            Broken("redis-acl-notify/login", "Redis does not let in"),
            Broken("redis-acl-web/login", "Redis does not let in"),
            Broken("redis-acl-daemon/denies", "do what it has to"),
        )
    ),
    "the daemon is let do everything": Round(
        (
            Broken(
                "polkit-rules/grant",
                "do more than it should",
                *append(
                    f"{RULES}/50-tinyci.rules",
                    'polkit.addRule(function (action, subject) { if (subject.user === "tinyci") '
                    "return polkit.Result.YES; });",
                    POLKIT,
                ),
            ),
            Broken(
                "gate-filter/none",
                "passes everything",
                *drop_in(
                    "tinyci-gate@.service",
                    "[Service]\\nExecStart=\\nExecStart=/usr/bin/xdg-dbus-proxy unix:path=/run/user/%%i/bus "
                    "/run/tinyci-gate/%%i/bus\\n",
                    f"systemctl restart {GATE}",
                ),
            ),
            Broken("gate-tried/grants", "passed StartTransientUnit"),
            Broken(
                "daemon-journal/unreadable",
                "jobs have no output",
                *drop_in(
                    "tinyci.service",
                    "[Service]\\nSupplementaryGroups=\\nSupplementaryGroups=tinyci-redis\\n",
                    "systemctl restart tinyci; gpasswd -d tinyci systemd-journal || true",
                ),
            ),
            Broken("daemon-configuration/changed", "have changed since", *append(TOML, 'timeout = "31min"')),
            Broken(
                "podman/pause-process",
                "takes a process of",
                f"systemd-run -q --uid={USER} --unit=doctor-sleep sleep 600\n"
                f"install -d -o {USER} /run/user/$uid/libpod /run/user/$uid/libpod/tmp\n"
                f"printf %s $(systemctl show -P MainPID doctor-sleep) >{PAUSE}",
                f"systemctl stop doctor-sleep; rm -f {PAUSE}",
            ),
            Broken(
                "templates/unloadable",
                "cannot load",
                *file(f"{USER_UNITS}/tinyci-verify@.service", "sed -i /^ExecStart=/d", f"{MINE} daemon-reload"),
            ),
        )
    ),
    "the system bus is down": Round(
        (
            Broken(
                "system-bus/unreachable",
                "cannot be reached",
                "systemctl stop tinyci dbus.socket dbus.service",
                "systemctl start dbus.socket dbus.service; systemctl try-restart systemd-logind polkit",
            ),
            Broken("daemon/down", "is not up"),
        )
    ),
    "the system bus came back without the daemon": Round(
        (
            Broken(
                "bus/not-owned",
                "does not own",
                *file(
                    POLICY,
                    "rm",
                    "systemctl stop dbus.socket dbus.service; systemctl start dbus.socket dbus.service; "
                    "systemctl restart systemd-logind polkit",
                ),
            ),
            Broken("redis/silent", "is up and does not answer", "rm /run/redis-tinyci/redis.sock"),
            # Running as the file was for a while.
            Broken(
                "gate-filter/wide",
                "passes more than",
                *file(
                    GATE_UNIT,
                    "sed -i 's/--filter/& --talk=org.example.doctor/'",
                    f"{GATE_AGAIN}; ! [ -e {KEPT}{GATE_UNIT} ] || mv {KEPT}{GATE_UNIT} {GATE_UNIT}; "
                    "systemctl daemon-reload",
                ),
            ),
            Broken(
                "gate-tried/closed",
                "does not let anybody in",
                "rm /run/tinyci-gate/$uid/bus",
                f"systemctl restart {GATE}",
            ),
        )
    ),
    "services have failed": Round(
        (
            Broken("daemon/failed", "has failed", *failed("tinyci.service")),
            Broken("redis/failed", "has failed", *failed(REDIS)),
            Broken("gate/failed", "has failed", *failed(GATE)),
            Broken(
                "polkit/failed",
                "has failed",
                *drop_in(
                    "polkit.service",
                    "[Unit]\\nStartLimitIntervalSec=1h\\nStartLimitBurst=1\\n",
                    f"{POLKIT}; ! [ -e /etc/systemd/system/polkit.service.d ] || ! systemctl restart polkit",
                ),
            ),
            Broken(
                "spool/no-directory",
                "is no directory",
                *file("/var/spool/tinyci", "rm -r", "[ -e /var/spool/tinyci ] || touch /var/spool/tinyci"),
            ),
            Broken(
                "code/missing",
                "of tinyci's own code",
                f"rm -r /opt/tinyci/bin/tinyci-build {CODE}/stage",
                f"[ -e {CODE}/stage ] || {INSTALL}",
            ),
            Broken("stages/fail", "cannot run tinyci's stages"),
            Broken(
                "hook-runs/fails", "the hook fails when", *append(f"$(echo {CODE})/hook/post_receive.py", "no Python")
            ),
        )
    ),
    "services hang": Round(
        (
            Broken(
                "bus/silent",
                "does not answer on the system bus",
                "systemctl kill -s STOP tinyci polkit",
                f"systemctl kill -s CONT tinyci polkit; {POLKIT}",
            ),
            Broken("polkit/silent", "polkit does not answer"),
            Broken(
                "manager/hangs",
                "is up and hangs",
                "kill -STOP $(systemctl show -P MainPID user@$uid.service)",
                f"kill -CONT $(systemctl show -P MainPID user@$uid.service); {UP}",
            ),
            Broken("gate-tried/silent", "no answer comes through the gate"),
        )
    ),
    "the user's manager is not as it should be": Round(
        (
            Broken(
                "journal-rate/low",
                "journald drops what a build of",
                *drop_in(
                    "user@.service", "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n", MANAGER_AGAIN
                ),
            ),
            Broken(
                "runtime-directory/no-bus",
                "its manager cannot be asked",
                "rm /run/user/$uid/bus",
                MANAGER_AGAIN,
            ),
            Broken(
                "daemon/unloadable",
                "systemd cannot load",
                *file(f"{UNITS}/tinyci.service", "sed -i /^ExecStart=/d", "systemctl daemon-reload"),
            ),
        )
    ),
    "the user's manager runs as it was set before": Round(
        (
            Broken(
                "journal-rate/not-applied",
                "journald drops what a build of",
                *drop_in(
                    "user@.service",
                    "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n",
                    f"{MANAGER_AGAIN}; rm -f /etc/systemd/system/user@.service.d/doctor.conf; systemctl daemon-reload",
                ),
            ),
            Broken("runtime-directory/missing", "is not there for", "umount -l /run/user/$uid", MANAGER_AGAIN),
        )
    ),
    "the user's manager is down": Round(
        (
            Broken(
                "manager/down",
                "is not up",
                "systemctl stop user@$uid.service",
                f"systemctl start user@$uid.service; {UP}",
            ),
            Broken("gate/down", "is not up", f"systemctl disable -q {GATE}", f"systemctl enable -q --now {GATE}"),
            # Here, since a manager that does not linger ends by itself some seconds after the last look into it.
            Broken(
                "linger/off", "does not linger", f"rm /var/lib/systemd/linger/{USER}", f"loginctl enable-linger {USER}"
            ),
            Broken("daemon-manager/unreachable", "has no gate", by="manager"),
            Broken(
                "daemon-spool/closed",
                "cannot take in",
                "chown root: /var/spool/tinyci && chmod 700 /var/spool/tinyci",
                TMPFILES,
            ),
        )
    ),
    "what root's builds need": Round(
        (
            Broken(
                "journal-rate/root-low",
                "sets too low a",
                *drop_in("tinyci-build@.service", "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n"),
            ),
            Broken(
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
    Broken("daemon-configuration/repo-unknown", "does not know of it yet"),
    Broken("user/missing", "there is no user"),
    Broken("linger/off", "does not linger"),
    Broken("subordinate-ids/missing", "subordinate ids in"),
    Broken("gate/down", "is not up"),
    Broken("repository/missing", "there is nothing to push to"),
)
