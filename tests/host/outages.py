"""Rounds in which services are down: stopped, masked, failed or hanging; see tests/host/rounds.py."""

from collections.abc import Mapping

from breaking import (
    CODE,
    COPIES,
    GATE,
    GATE_AGAIN,
    GATE_UNIT,
    INSTALL,
    POLICY,
    POLKIT,
    REDIS,
    REPO,
    REPOSITORY,
    TMPFILES,
    TOML,
    UP,
    USER,
    Breakage,
    Round,
    append,
    drop_in,
    file,
)


def kill_for_good(unit: str) -> tuple[str, str]:
    """Kill a service, with nothing to start it again."""
    do, undo = drop_in(unit, "[Service]\\nRestart=no\\n")
    wait = f"timeout 20 sh -c 'until systemctl is-failed -q {unit}; do sleep 0.05; done'"
    return f"{do}systemctl kill -s KILL {unit} && {wait}", f"{undo}systemctl restart {unit}"


OUTAGES: Mapping[str, Round] = {
    "the daemon is stopped": Round(
        (
            Breakage(
                "spool-backlog/late",
                "wait in",
                "systemctl stop tinyci\n"
                "cd /var/spool/tinyci && id=$(cat /proc/sys/kernel/random/uuid) && f=0000000000000001-0001-$id.json && "
                f'echo "{{\\"id\\": \\"$id\\", \\"repo\\": \\"{REPO}\\", \\"ref\\": \\"refs/heads/master\\", '
                '\\"revision\\": \\"$(printf %040d 1)\\"}" >$f && chmod 644 $f && touch -d "5 minutes ago" $f',
                "rm -f /var/spool/tinyci/0000000000000001-0001-*",
            ),
            Breakage("daemon/down", "is not up", "systemctl stop tinyci"),
            Breakage(
                "configuration-rights/writable", "who may write it", *file(TOML, f"chmod 600 {TOML} && chown {USER}:")
            ),
            Breakage("hook-runs/complains", "the hook fails when", by="configuration-rights"),
            Breakage("home/rights", "cannot keep images", f"chown root: ~{USER}", f"chown {USER}: ~{USER}"),
            Breakage("subordinate-ids/missing", "subordinate ids in", *file("/etc/subuid", f"sed -i /^{USER}:/d")),
            Breakage(
                "repository-readable/unreadable",
                "its builds check out from there",
                f"chmod -R g-rwx {REPOSITORY}",
                f"chmod -R g+rX {REPOSITORY}",
            ),
            Breakage("gate/down", "is not up", f"systemctl stop {GATE}", f"systemctl start {GATE}"),
            Breakage(
                "push-options/off",
                "takes no push options",
                *file(f"{REPOSITORY}/config", "sed -i /advertisePushOptions/d"),
            ),
        )
    ),
    "all is masked": Round(
        (
            Breakage(
                "redis/masked",
                "is masked",
                f"systemctl stop {REDIS}; systemctl mask -q {REDIS}",
                f"systemctl unmask -q {REDIS}",
            ),
            Breakage(
                "daemon/starts",
                "look again in a moment",
                "systemctl stop tinyci && systemctl start --no-block tinyci\n"
                "timeout 20 sh -c 'until systemctl show -P StatusText tinyci | grep Redis; do sleep 0.05; done'",
                by="redis",
            ),
            Breakage(
                "polkit/masked",
                "is masked",
                "systemctl mask -q polkit && systemctl stop polkit",
                f"systemctl unmask -q polkit; {POLKIT}",
            ),
            Breakage(
                "gate/masked",
                "is masked",
                f"systemctl stop {GATE} && systemctl mask -q {GATE}",
                f"systemctl unmask -q {GATE}; systemctl start {GATE}",
            ),
            Breakage("files-rights/closed", "can run what is there", "chmod 700 /opt/tinyci", "chmod 755 /opt/tinyci"),
            Breakage("stages/closed", "cannot run tinyci's stages"),
            Breakage(
                "repository/missing",
                "there is nothing to push to",
                f"mv {REPOSITORY} /srv/git/kept.git",
                f"[ ! -e /srv/git/kept.git ] || {{ rm -rf {REPOSITORY} && mv /srv/git/kept.git {REPOSITORY}; }}",
            ),
        )
    ),
    "Redis is stopped": Round(
        (
            Breakage("redis/down", "is not up", f"systemctl stop {REDIS}", f"systemctl start {REDIS}"),
            Breakage("daemon-redis/silent", "Redis does not answer the daemon"),
            Breakage(
                "spool/rights",
                "the hook writes there",
                "chmod 755 /var/spool/tinyci && chown root: /var/spool/tinyci",
                TMPFILES,
            ),
            Breakage(
                "podman/foreign-storage",
                "podman cannot use its storage",
                f"install -d -o root -m 700 ~{USER}/.local/share/containers/storage/doctor && "
                f"chown root: ~{USER}/.local/share/containers/storage",
                f"chown {USER}: ~{USER}/.local/share/containers/storage; "
                f"rm -rf ~{USER}/.local/share/containers/storage/doctor",
            ),
            Breakage("push-shell/missing", "is missing, so that", *file("/usr/bin/git-shell", "rm")),
            Breakage(
                "hook-runs/closed", "the hook fails when", "chmod 700 /opt/tinyci/hooks", "chmod 755 /opt/tinyci/hooks"
            ),
        )
    ),
    "the system bus is down": Round(
        (
            Breakage(
                "system-bus/unreachable",
                "cannot be reached",
                "systemctl stop tinyci dbus.socket dbus.service",
                "systemctl start dbus.socket dbus.service; systemctl try-restart systemd-logind polkit",
            ),
            Breakage("daemon/down", "is not up"),
        )
    ),
    "the system bus came back without the daemon": Round(
        (
            Breakage(
                "bus/not-owned",
                "does not own",
                *file(
                    POLICY,
                    "rm",
                    "systemctl stop dbus.socket dbus.service; systemctl start dbus.socket dbus.service; "
                    "systemctl restart systemd-logind polkit",
                ),
            ),
            Breakage("redis/silent", "is up and does not answer", "rm /run/redis-tinyci/redis.sock"),
            # Running as the file was for a while.
            Breakage(
                "gate-filter/wide",
                "passes more than",
                *file(
                    GATE_UNIT,
                    "sed -i 's/--filter/& --talk=org.example.doctor/'",
                    f"{GATE_AGAIN}; ! [ -e {COPIES}{GATE_UNIT} ] || mv {COPIES}{GATE_UNIT} {GATE_UNIT}; "
                    "systemctl daemon-reload",
                ),
            ),
            Breakage(
                "gate-tried/closed",
                "does not let anybody in",
                "rm /run/tinyci-gate/$uid/bus",
                f"systemctl restart {GATE}",
            ),
        )
    ),
    "services have failed": Round(
        (
            Breakage("daemon/failed", "has failed", *kill_for_good("tinyci.service")),
            Breakage("redis/failed", "has failed", *kill_for_good(REDIS)),
            Breakage("gate/failed", "has failed", *kill_for_good(GATE)),
            Breakage(
                "polkit/failed",
                "has failed",
                *drop_in(
                    "polkit.service",
                    "[Unit]\\nStartLimitIntervalSec=1h\\nStartLimitBurst=1\\n",
                    f"{POLKIT}; ! [ -e /etc/systemd/system/polkit.service.d ] || ! systemctl restart polkit",
                ),
            ),
            Breakage(
                "spool/no-directory",
                "is no directory",
                *file("/var/spool/tinyci", "rm -r", "[ -e /var/spool/tinyci ] || touch /var/spool/tinyci"),
            ),
            Breakage(
                "code/missing",
                "of tinyci's own code",
                f"rm -r /opt/tinyci/bin/tinyci-build {CODE}/stage",
                f"[ -e {CODE}/stage ] || {INSTALL}",
            ),
            Breakage("stages/fail", "cannot run tinyci's stages"),
            Breakage(
                "hook-runs/fails", "the hook fails when", *append(f"$(echo {CODE})/hook/post_receive.py", "no Python")
            ),
        )
    ),
    "services hang": Round(
        (
            Breakage(
                "bus/silent",
                "does not answer on the system bus",
                "systemctl kill -s STOP tinyci polkit",
                f"systemctl kill -s CONT tinyci polkit; {POLKIT}",
            ),
            Breakage("polkit/silent", "polkit does not answer"),
            Breakage(
                "manager/hangs",
                "is up and hangs",
                "kill -STOP $(systemctl show -P MainPID user@$uid.service)",
                f"kill -CONT $(systemctl show -P MainPID user@$uid.service); {UP}",
            ),
            Breakage("gate-tried/silent", "no answer comes through the gate"),
        )
    ),
}
