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
            Broken("configuration-rights", "cannot read it", *file(TOML, "chmod 600")),
            Broken("redis-enabled", "is not enabled", f"systemctl disable -q {REDIS}", f"systemctl enable -q {REDIS}"),
            Broken("redis-password-web", ", expected ", *file(f"{CREDENTIALS}/redis-web", "chmod 644")),
            Broken("redis-password-notify", ", expected ", *file(f"{CREDENTIALS}/redis-notify", "chmod 644")),
            Broken("redis-password-hook", ", expected ", *file(f"{CREDENTIALS}/redis-hook", "chgrp root")),
            Broken("daemon-enabled", "is not enabled", "systemctl disable -q tinyci", "systemctl enable -q tinyci"),
            Broken(
                "queue",
                "the queue is paused",
                "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Pause",
                "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager Resume",
            ),
            Broken("gate-enabled", "is not enabled", f"systemctl disable -q {GATE}", f"systemctl enable -q {GATE}"),
            Broken(
                "templates",
                "is masked in the manager of",
                f"{MINE} mask -q tinyci-build@.service",
                f"{MINE} unmask -q tinyci-build@.service",
            ),
            Broken("daemon-unit", "cannot run", by="templates"),
            Broken(
                "build-limit",
                "ends a build after",
                *drop_in("tinyci-build@.service", "[Service]\\nTimeoutStartSec=1min\\n", where="user"),
            ),
            Broken("repository-private", "is open to more", f"chmod o+rx {REPOSITORY}", f"chmod 2750 {REPOSITORY}"),
            Broken(
                "repository-owned",
                "git fails in a push that has to change it",
                f"install -d -o root -g {USER} -m 2750 {REPOSITORY}/objects/00",
                f"rmdir {REPOSITORY}/objects/00 2>/dev/null || true",
            ),
            Broken("push-groups", "cannot make jobs", "gpasswd -d git tinyci-push", "gpasswd -a git tinyci-push"),
            Broken(
                "push-shell",
                "has the shell",
                "usermod -s /usr/sbin/nologin git",
                "usermod -s /usr/bin/git-shell git",
            ),
            Broken("hook", "not tinyci's hook", *file(f"{REPOSITORY}/config", "sed -i /hooksPath/d")),
            Broken(
                "hook-runs",
                "is not executable",
                "chmod 644 /opt/tinyci/hooks/post-receive",
                "chmod 755 /opt/tinyci/hooks/post-receive",
            ),
        )
    ),
    "the daemon is stopped": Round(
        (
            Broken(
                "spool-backlog",
                "wait in",
                "systemctl stop tinyci\n"
                "cd /var/spool/tinyci && id=$(cat /proc/sys/kernel/random/uuid) && f=0000000000000001-0001-$id.json && "
                f'echo "{{\\"id\\": \\"$id\\", \\"repo\\": \\"{REPO}\\", \\"ref\\": \\"refs/heads/master\\", '
                '\\"revision\\": \\"$(printf %040d 1)\\"}" >$f && chmod 644 $f && touch -d "5 minutes ago" $f',
                "rm -f /var/spool/tinyci/0000000000000001-0001-*",
            ),
            Broken("daemon", "is not up", "systemctl stop tinyci"),
            Broken("configuration-rights", "who may write it", *file(TOML, f"chmod 600 {TOML} && chown {USER}:")),
            Broken("hook-runs", "the hook fails when", by="configuration-rights"),
            Broken("home", "cannot keep images", f"chown root: ~{USER}", f"chown {USER}: ~{USER}"),
            Broken("subordinate-ids", "subordinate ids in", *file("/etc/subuid", f"sed -i /^{USER}:/d")),
            Broken(
                "repository-readable",
                "its builds check out from there",
                f"chmod -R g-rwx {REPOSITORY}",
                f"chmod -R g+rX {REPOSITORY}",
            ),
            Broken("gate", "is not up", f"systemctl stop {GATE}", f"systemctl start {GATE}"),
            Broken(
                "push-options", "takes no push options", *file(f"{REPOSITORY}/config", "sed -i /advertisePushOptions/d")
            ),
        )
    ),
    "all is masked": Round(
        (
            Broken(
                "redis",
                "is masked",
                f"systemctl stop {REDIS}; systemctl mask -q {REDIS}",
                f"systemctl unmask -q {REDIS}",
            ),
            Broken(
                "daemon",
                "look again in a moment",
                "systemctl stop tinyci && systemctl start --no-block tinyci\n"
                "timeout 20 sh -c 'until systemctl show -P StatusText tinyci | grep Redis; do sleep 0.05; done'",
                by="redis",
            ),
            Broken(
                "polkit",
                "is masked",
                "systemctl mask -q polkit && systemctl stop polkit",
                f"systemctl unmask -q polkit; {POLKIT}",
            ),
            Broken(
                "gate",
                "is masked",
                f"systemctl stop {GATE} && systemctl mask -q {GATE}",
                f"systemctl unmask -q {GATE}; systemctl start {GATE}",
            ),
            Broken("files-rights", "can run what is there", "chmod 700 /opt/tinyci", "chmod 755 /opt/tinyci"),
            Broken("stages", "cannot run tinyci's stages"),
            Broken(
                "repository",
                "there is nothing to push to",
                f"mv {REPOSITORY} /srv/git/kept.git",
                f"[ ! -e /srv/git/kept.git ] || {{ rm -rf {REPOSITORY} && mv /srv/git/kept.git {REPOSITORY}; }}",
            ),
        )
    ),
    "Redis is stopped": Round(
        (
            Broken("redis", "is not up", f"systemctl stop {REDIS}", f"systemctl start {REDIS}"),
            Broken("daemon-redis", "Redis does not answer the daemon"),
            Broken(
                "spool",
                "the hook writes there",
                "chmod 755 /var/spool/tinyci && chown root: /var/spool/tinyci",
                TMPFILES,
            ),
            Broken(
                "podman",
                "podman cannot use its storage",
                f"install -d -o root -m 700 ~{USER}/.local/share/containers/storage/doctor && "
                f"chown root: ~{USER}/.local/share/containers/storage",
                f"chown {USER}: ~{USER}/.local/share/containers/storage; "
                f"rm -rf ~{USER}/.local/share/containers/storage/doctor",
            ),
            Broken("push-shell", "is missing, so that", *file("/usr/bin/git-shell", "rm")),
        )
    ),
    "Redis lets everybody do everything, and keeps nothing": Round(
        (
            # The daemon read the file while it was wrong.
            Broken(
                "daemon-configuration",
                "the repo's file is wrong",
                f"mkdir -p {KEPT} && cp -a {TOML} {KEPT}/toml && echo wrong >>{TOML} && systemctl reload tinyci\n"
                f"timeout 20 sh -c 'until systemctl show -P StatusText tinyci | grep wrong; do sleep 0.05; done'\n"
                f"mv {KEPT}/toml {TOML}",
                f"[ ! -e {KEPT}/toml ] || mv {KEPT}/toml {TOML}",
            ),
            Broken(
                "redis-persistence",
                "keeps nothing on disk",
                f"systemctl stop {REDIS} && mkdir -p {KEPT} && cp -a {DATA} {CONFIG} {KEPT} && "
                f"sed -i 's/^appendonly yes/appendonly no/' {CONFIG} && echo 'maxmemory 100mb' >>{CONFIG} && "
                f"echo 'maxmemory-policy allkeys-lru' >>{CONFIG}",
                f"[ ! -e {KEPT}/redis-tinyci.conf ] || {{ systemctl stop {REDIS} && rm -rf {DATA} && "
                f"mv {KEPT}/redis-tinyci {DATA} && mv {KEPT}/redis-tinyci.conf {CONFIG}; }}\n{AGAIN}",
            ),
            Broken("redis-memory", "throws jobs away"),
            Broken(
                "redis-acl-hook",
                "do more than it should",
                *file(
                    ACL,
                    "sed -i -e '/^user hook /s/$/ ~* +@all/' -e '/^user notify /d' -e '/^user daemon /s/+@write//' "
                    "-e '/^user web /s/#[0-9a-f]*/>other/'",
                    AGAIN,
                ),
            ),
            Broken("redis-acl-notify", "Redis does not let in"),
            Broken("redis-acl-web", "Redis does not let in"),
            Broken("redis-acl-daemon", "do what it has to"),
        )
    ),
    "the daemon is let do everything": Round(
        (
            Broken(
                "polkit-rules",
                "do more than it should",
                *append(
                    f"{RULES}/50-tinyci.rules",
                    'polkit.addRule(function (action, subject) { if (subject.user === "tinyci") '
                    "return polkit.Result.YES; });",
                    POLKIT,
                ),
            ),
            Broken(
                "gate-filter",
                "passes everything",
                *drop_in(
                    "tinyci-gate@.service",
                    "[Service]\\nExecStart=\\nExecStart=/usr/bin/xdg-dbus-proxy unix:path=/run/user/%%i/bus "
                    "/run/tinyci-gate/%%i/bus\\n",
                    f"systemctl restart {GATE}",
                ),
            ),
            Broken("gate-tried", "passed StartTransientUnit"),
            Broken(
                "daemon-journal",
                "jobs have no output",
                *drop_in(
                    "tinyci.service",
                    "[Service]\\nSupplementaryGroups=\\nSupplementaryGroups=tinyci-redis\\n",
                    "systemctl restart tinyci; gpasswd -d tinyci systemd-journal || true",
                ),
            ),
            Broken("daemon-configuration", "have changed since", *append(TOML, 'timeout = "31min"')),
            Broken(
                "podman",
                "takes a process of",
                f"systemd-run -q --uid={USER} --unit=doctor-sleep sleep 600\n"
                f"install -d -o {USER} /run/user/$uid/libpod /run/user/$uid/libpod/tmp\n"
                f"printf %s $(systemctl show -P MainPID doctor-sleep) >{PAUSE}",
                f"systemctl stop doctor-sleep; rm -f {PAUSE}",
            ),
            Broken(
                "templates",
                "cannot load",
                *file(f"{USER_UNITS}/tinyci-verify@.service", "sed -i /^ExecStart=/d", f"{MINE} daemon-reload"),
            ),
        )
    ),
    "the system bus is down": Round(
        (
            Broken(
                "system-bus",
                "cannot be reached",
                "systemctl stop tinyci dbus.socket dbus.service",
                "systemctl start dbus.socket dbus.service; systemctl try-restart systemd-logind polkit",
            ),
            Broken("daemon", "is not up"),
        )
    ),
    "the system bus came back without the daemon": Round(
        (
            Broken(
                "bus",
                "does not own",
                *file(
                    POLICY,
                    "rm",
                    "systemctl stop dbus.socket dbus.service; systemctl start dbus.socket dbus.service; "
                    "systemctl restart systemd-logind polkit",
                ),
            ),
            Broken("redis", "is up and does not answer", "rm /run/redis-tinyci/redis.sock"),
            # Running as the file was for a while.
            Broken(
                "gate-filter",
                "passes more than",
                *file(
                    GATE_UNIT,
                    "sed -i 's/--filter/& --talk=org.example.doctor/'",
                    f"{GATE_AGAIN}; ! [ -e {KEPT}{GATE_UNIT} ] || mv {KEPT}{GATE_UNIT} {GATE_UNIT}; "
                    "systemctl daemon-reload",
                ),
            ),
            Broken(
                "gate-tried", "does not let anybody in", "rm /run/tinyci-gate/$uid/bus", f"systemctl restart {GATE}"
            ),
        )
    ),
    "services have failed": Round(
        (
            Broken("daemon", "has failed", *failed("tinyci.service")),
            Broken("redis", "has failed", *failed(REDIS)),
            Broken("gate", "has failed", *failed(GATE)),
            Broken(
                "polkit",
                "has failed",
                *drop_in(
                    "polkit.service",
                    "[Unit]\\nStartLimitIntervalSec=1h\\nStartLimitBurst=1\\n",
                    f"{POLKIT}; ! [ -e /etc/systemd/system/polkit.service.d ] || ! systemctl restart polkit",
                ),
            ),
            Broken(
                "spool",
                "is no directory",
                *file("/var/spool/tinyci", "rm -r", "[ -e /var/spool/tinyci ] || touch /var/spool/tinyci"),
            ),
            Broken(
                "code",
                "of tinyci's own code",
                f"rm -r /opt/tinyci/bin/tinyci-build {CODE}/stage",
                f"[ -e {CODE}/stage ] || {INSTALL}",
            ),
            Broken("stages", "cannot run tinyci's stages"),
            Broken("hook-runs", "the hook fails when", *append(f"$(echo {CODE})/hook/post_receive.py", "no Python")),
        )
    ),
    "services hang": Round(
        (
            Broken(
                "bus",
                "does not answer on the system bus",
                "systemctl kill -s STOP tinyci polkit",
                f"systemctl kill -s CONT tinyci polkit; {POLKIT}",
            ),
            Broken("polkit", "polkit does not answer"),
            Broken(
                "manager",
                "is up and hangs",
                "kill -STOP $(systemctl show -P MainPID user@$uid.service)",
                f"kill -CONT $(systemctl show -P MainPID user@$uid.service); {UP}",
            ),
            Broken("gate-tried", "no answer comes through the gate"),
        )
    ),
    "the user's manager is not as it should be": Round(
        (
            Broken(
                "journal-rate",
                "journald drops what a build of",
                *drop_in(
                    "user@.service", "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n", MANAGER_AGAIN
                ),
            ),
            Broken(
                "runtime-directory",
                "its manager cannot be asked",
                "rm /run/user/$uid/bus",
                MANAGER_AGAIN,
            ),
            Broken(
                "daemon",
                "systemd cannot load",
                *file(f"{UNITS}/tinyci.service", "sed -i /^ExecStart=/d", "systemctl daemon-reload"),
            ),
        )
    ),
    "the user's manager runs as it was set before": Round(
        (
            Broken(
                "journal-rate",
                "journald drops what a build of",
                *drop_in(
                    "user@.service",
                    "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n",
                    f"{MANAGER_AGAIN}; rm -f /etc/systemd/system/user@.service.d/doctor.conf; systemctl daemon-reload",
                ),
            ),
            Broken("runtime-directory", "is not there for", "umount -l /run/user/$uid", MANAGER_AGAIN),
        )
    ),
    "the user's manager is down": Round(
        (
            Broken(
                "manager",
                "is not up",
                "systemctl stop user@$uid.service",
                f"systemctl start user@$uid.service; {UP}",
            ),
            Broken("gate", "is not up", f"systemctl disable -q {GATE}", f"systemctl enable -q --now {GATE}"),
            # Here, since a manager that does not linger ends by itself some seconds after the last look into it.
            Broken("linger", "does not linger", f"rm /var/lib/systemd/linger/{USER}", f"loginctl enable-linger {USER}"),
            Broken("daemon-manager", "has no gate", by="manager"),
            Broken(
                "daemon-spool",
                "cannot take in",
                "chown root: /var/spool/tinyci && chmod 700 /var/spool/tinyci",
                TMPFILES,
            ),
        )
    ),
    "what root's builds need": Round(
        (
            Broken(
                "journal-rate",
                "sets too low a",
                *drop_in("tinyci-build@.service", "[Service]\\nLogRateLimitIntervalSec=30s\\nLogRateLimitBurst=100\\n"),
            ),
            Broken(
                "templates",
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
    Broken("daemon-configuration", "does not know of it yet"),
    Broken("user", "there is no user"),
    Broken("linger", "does not linger"),
    Broken("subordinate-ids", "subordinate ids in"),
    Broken("gate", "is not up"),
    Broken("repository", "there is nothing to push to"),
)
