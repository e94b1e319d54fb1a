"""Problems about which a person has to decide: named, with the decision to make, and without a command that guesses.

What puts each right again is what its sentence asks for.
"""

from collections.abc import Mapping

from breaking import (
    AGAIN,
    CONFIG,
    COPIES,
    DATA,
    POLKIT,
    REDIS,
    REPOSITORY,
    RULES,
    USER,
    Breakage,
    Round,
    append,
    drop_in,
    file,
    small,
)

MAIN = "/etc/tinyci/tinyci.toml"
CLI = (
    "redis-cli -s /run/redis-tinyci/redis.sock --no-auth-warning --user daemon "
    '--pass "$(cat /etc/tinyci/credentials/redis-daemon)"'
)
ARCHIVE = "/opt/tinyci/release/server.tar"

DECISIONS: Mapping[str, Round] = {
    "while all runs": Round(
        (
            Breakage("configuration/invalid", "correct it, then 'systemctl reload", *append(MAIN, "parallell = 3")),
            Breakage("daemon-configuration/invalid", "goes by an earlier configuration", by="configuration"),
            Breakage("redis-memory/full", "raise maxmemory and restart it", *append(CONFIG, "maxmemory 600kb", AGAIN)),
            Breakage(
                "polkit-rules/overruled",
                "as good as root",
                'echo \'polkit.addRule(function (action, subject) { if (subject.user === "tinyci") '
                f"return polkit.Result.YES; }});' >{RULES}/05-doctor.rules && {{ {POLKIT}; }}",
                f"rm -f {RULES}/05-doctor.rules; {POLKIT}",
            ),
            Breakage("repository/broken", "is no bare git repository", *file(f"{REPOSITORY}/HEAD", "rm")),
            Breakage(
                "space/bytes",
                " MiB left for ",
                "findmnt -no SIZE -b /run/user/$uid >/run/doctor-size && mount -o remount,size=1M /run/user/$uid",
                "mount -o remount,size=$(cat /run/doctor-size) /run/user/$uid; rm /run/doctor-size",
                subject_words="/run/user/",
            ),
            Breakage(
                "space/bytes",
                " MiB left for ",
                *small(f"~{USER}/.local/share/containers", "size=500M,uid=$uid,gid=$uid"),
                subject_words="images and containers",
            ),
            Breakage("space/inodes", "files only", *small(f"~{USER}/.cache/tinyci", "size=80M,nr_inodes=500,uid=$uid")),
            Breakage(
                "space/bytes",
                " MiB left for ",
                *small("/var/spool/tinyci", "size=8M,mode=1730,uid=tinyci,gid=tinyci-push"),
                subject_words="/var/spool/tinyci",
            ),
            Breakage(
                "spool-backlog/no-jobs",
                "are no jobs",
                "touch /var/spool/tinyci/x.bad",
                "rm -f /var/spool/tinyci/x.bad",
            ),
            Breakage(
                "podman/fails",
                "podman does not work for",
                f"mkdir -p ~{USER}/.config/containers && echo 'driver = ' >~{USER}/.config/containers/storage.conf",
                f"rm ~{USER}/.config/containers/storage.conf",
            ),
            Breakage(
                "templates/misconfigured",
                "' shows, then",
                *drop_in("tinyci-rollback@.service", "[Service]\\nExecStart=\\n", where="user"),
            ),
        )
    ),
    "while much does not": Round(
        (
            Breakage(
                "daemon/crashes",
                "fails at every start",
                *append(MAIN, "parallell = 3", "systemctl restart tinyci || true"),
            ),
            Breakage(
                "redis/misconfigured", "correct what 'systemctl cat", *drop_in(REDIS, "[Service]\\nExecStart=\\n")
            ),
            Breakage(
                "push-shell/missing",
                "is missing, so that",
                "usermod -s /bin/fish git",
                "usermod -s /usr/bin/git-shell git",
            ),
            Breakage(
                "files/missing",
                "of tinyci's own files are missing",
                f"rm /etc/tmpfiles.d/tinyci.conf && mv {ARCHIVE} {ARCHIVE}.kept",
                f"mv {ARCHIVE}.kept {ARCHIVE} && tar -C / -xf {ARCHIVE}",
                f"mv {ARCHIVE}.kept {ARCHIVE} && tar -C / -xf {ARCHIVE}",
            ),
            Breakage(
                "home/no-directory",
                "cannot keep images",
                f"mkdir -p {COPIES} && mv ~{USER} {COPIES}/home && touch ~{USER}",
                f"[ ! -e {COPIES}/home ] || {{ rm -f ~{USER} && mv {COPIES}/home ~{USER}; }}",
            ),
        )
    ),
    "while Redis' disk is full": Round(
        (
            Breakage(
                "redis-persistence/full",
                "make room there",
                f"systemctl stop {REDIS} && mkdir -p {COPIES} && cp -a {CONFIG} {COPIES} && "
                f"sed -i 's/^appendfsync .*/appendfsync everysec/' {CONFIG} && "
                f"mount -t tmpfs -o size=80M,mode=700,uid=redis,gid=redis tmpfs {DATA} && systemctl start {REDIS} && "
                f"{{ dd if=/dev/zero of={DATA}/filler bs=1M 2>/dev/null || true; }}\n"
                f"timeout 20 sh -c 'until {CLI} set tinyci:doctor $(printf %09999d 1) | grep MISCONF; do :; done'",
                f"[ ! -e {COPIES}/redis-tinyci.conf ] || mv {COPIES}/redis-tinyci.conf {CONFIG}\n"
                f"! findmnt -n {DATA} >/dev/null || {{ systemctl stop {REDIS}; umount {DATA}; {AGAIN}; }}",
            ),
            Breakage("space/bytes", " MiB left for ", subject_words=DATA),
        )
    ),
    "about another Redis": Round(
        (
            Breakage(
                "redis/unreachable",
                "Redis does not answer at",
                *append(MAIN, '[redis]\nsocket = "/run/redis-other/redis.sock"'),
            ),
        )
    ),
}
