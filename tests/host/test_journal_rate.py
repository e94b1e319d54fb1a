"""journald's rate limit: lifted for the users who have a gate, and for nobody else."""

from collections.abc import Iterator

import pytest
from testhost import TestHost

USER = "talker"
LINES = 50_000  # journald's own limit is 40,000 in 30 s at the most, by the space it has
RATE = "/usr/local/lib/tinyci/journal-rate"
GLOBAL = "/usr/local/lib/systemd/system/user@.service.d/50-tinyci.conf"
DROP_IN = "/etc/systemd/system/user@{}.service.d/50-tinyci.conf"
MANAGER_UP = (
    f"timeout 60 sh -c 'until systemctl --user -M {USER}@ is-system-running --quiet --wait; do sleep 0.1; done'"
)


@pytest.fixture
def uid(server: TestHost) -> Iterator[str]:
    """A user whose manager runs, and who has no gate."""
    server.sh(f"useradd --create-home {USER} && loginctl enable-linger {USER}\n{MANAGER_UP}")
    uid = server.sh(f"id -u {USER}").strip()
    try:
        yield uid
    finally:
        server.sh(
            f"systemctl disable -q --now tinyci-gate@{uid}; {RATE}; loginctl disable-linger {USER}\n"
            f"systemctl stop user@{uid}; userdel --remove {USER}"
        )


def count_logged_lines(server: TestHost, uid: str) -> int:
    """Let a unit of the user's log at once; return how many lines of it the journal has."""
    output = server.sh(
        "unit=$(cat /proc/sys/kernel/random/uuid)\n"
        f"systemd-run --quiet --user --machine={USER}@ --wait --unit=$unit seq {LINES}\n"
        f"journalctl --sync; journalctl -o cat _UID={uid} _SYSTEMD_USER_UNIT=$unit.service | grep '^[0-9]*$' | wc -l"
    )
    return int(output)


def test_who_floods_the_journal_is_held_unless_there_is_a_gate(server: TestHost, uid: str) -> None:
    cursor = server.sh("journalctl -q -n 0 --show-cursor").strip().removeprefix("-- cursor: ")
    manager = server.show("root", f"user@{uid}", "MainPID")
    assert count_logged_lines(server, uid) < LINES
    server.sh(f"systemctl enable -q --now tinyci-gate@{uid}; {RATE}")
    assert count_logged_lines(server, uid) == LINES
    log = f"journalctl --after-cursor='{cursor}' -o cat -u systemd-journald"
    assert f"messages from user@{uid}.service" in server.sh(f"{log} | grep Suppressed"), "before the gate"
    server.sh(f"systemctl disable -q --now tinyci-gate@{uid}; {RATE}")
    assert count_logged_lines(server, uid) < LINES
    assert server.show("root", f"user@{uid}", "MainPID") == manager, "not restarted"
    assert server.sh(RATE) == "", "a second time"


def test_an_upgrade_takes_back_what_was_lifted_for_everybody(server: TestHost, uid: str) -> None:
    """An earlier version's drop-in was one for all users."""
    gate = server.sh("id -u probe").strip()
    managers = f"systemctl show -P MainPID user@{gate} user@{uid}"
    server.sh(
        f"rm {DROP_IN.format(gate)}; mkdir -p {GLOBAL.rpartition('/')[0]} && cp {RATE}.conf {GLOBAL}\n"
        f"systemctl daemon-reload; systemctl restart user@{uid}; {MANAGER_UP}"
    )
    assert count_logged_lines(server, uid) == LINES
    before = server.sh(managers)
    assert set(server.sh(RATE).splitlines()) == {
        f"linked {DROP_IN.format(gate)}",
        f"removed {GLOBAL}",
        f"journald knows of user@{uid}.service: interval its own",
        f"journald knows of user@{uid}.service: burst its own",
    }
    assert count_logged_lines(server, uid) < LINES
    assert server.sh(f"readlink /run/systemd/units/log-rate-limit-burst:user@{gate}.service") == "100000000\n"
    assert server.sh(managers) == before
    # They are also what PID 1 gives the next manager.
    server.sh(f"systemctl restart user@{uid}; {MANAGER_UP}")
    assert server.run(f"readlink /run/systemd/units/log-rate-limit-burst:user@{uid}.service").out == ""
