"""Rights of the daemon's user on managers: through a gate, and through polkit."""

import re
from collections.abc import Callable

import pytest
from testhost import TestHost, Work
from testinfra.host import Host

SYSTEMD = "org.freedesktop.systemd1"

# As the daemon's user, with the right to be the gate's client. dbus-next itself, since busctl offers only its own uid.
CLIENT = """
import asyncio, sys
sys.path[:0] = ["/opt/tinyci/lib/python3.%d/site-packages" % sys.version_info.minor]
from tinyci.dbus.bus import Bus, BusError, BusGoneError, Variant

async def main(address, uid, path, interface, member, signature, *body):
    try:
        bus = await Bus.connect(address, int(uid))
        print(await bus.call("org.freedesktop.systemd1", path, interface, member, signature, *eval(body[0])))
    except BusError as error:
        print(error.name)
    except BusGoneError as error:
        print("gone:", error)

asyncio.run(main(*sys.argv[1:]))
"""


def ask(server: TestHost, member: str, signature: str, body: str, user: str = "tinyci", target: str = "probe") -> str:
    """Call a method of the manager of `target` through its gate, as `user`."""
    uid = server.sh(f"id -u {target}").strip()
    interface = f"{SYSTEMD}.Manager"
    return server.sh(
        f"cd /; /opt/tinyci/bin/python3 - unix:path=/run/tinyci-gate/{uid}/bus {uid} /org/freedesktop/systemd1 "
        f"{interface} {member} '{signature}' {body!r}",
        user,
        stdin=CLIENT,
    ).strip()


@pytest.mark.parametrize(
    ("member", "signature", "body"),
    [
        ("StartTransientUnit", "ssa(sv)a(sa(sv))", '("evil.service", "fail", [], [])'),
        ("EnableUnitFiles", "asbb", '(["tinyci-build@.service"], False, False)'),
        ("SetEnvironment", "as", '(["PATH=/tmp"],)'),
        ("KillUnit", "ssi", '("dbus.service", "all", 9)'),
        ("Reload", "", "()"),
        ("Exit", "", "()"),
        ("GetUnit", "s", '("dbus.service",)'),
        ("GetJob", "u", "(1,)"),
        ("ListUnitsByPatterns", "asas", '([], ["*"])'),
    ],
)
def test_the_gate_refuses_what_is_not_listed(server: TestHost, member: str, signature: str, body: str) -> None:
    assert ask(server, member, signature, body) == "org.freedesktop.DBus.Error.AccessDenied"


def test_a_gate_stays_however_often_its_manager_is_restarted(server: TestHost) -> None:
    """systemd's start limit (5 in 10 s) would leave the user without a gate: nobody starts it a second time."""
    gate = "tinyci-gate@$(id -u probe-other).service"
    for _ in range(8):
        server.sh(f"systemctl restart {gate}")
    server.sh("systemctl restart user@$(id -u probe-other).service", limit=200)
    # The manager starts it, and does not wait for it.
    server.sh(f"until systemctl is-active -q {gate}; do sleep 0.1; done", limit=20)


def test_the_gate_passes_what_a_deploy_needs(server: TestHost) -> None:
    assert "/org/freedesktop/systemd1/unit/" in ask(server, "LoadUnit", "s", '("dbus.service",)')
    assert ask(server, "RestartUnit", "ss", '("no-such.service", "replace")') == f"{SYSTEMD}.NoSuchUnit"


@pytest.mark.parametrize("user", ["git", "nobody", "hello-quadlet"])
def test_nobody_else_reaches_the_gate(server: TestHost, user: str) -> None:
    assert "Permission denied" in ask(server, "LoadUnit", "s", '("dbus.service",)', user=user)


def test_the_gates_rights(server: TestHost, testinfra_host: Host) -> None:
    uid = server.sh("id -u probe").strip()
    with_sudo = testinfra_host.file(f"/run/tinyci-gate/{uid}")
    assert (with_sudo.user, with_sudo.group, oct(with_sudo.mode)) == ("probe", "tinyci", "0o750")
    assert server.sh(f"stat -c '%U %G %a' /run/tinyci-gate/{uid}/bus") == "probe tinyci 660\n"


def test_a_gate_sees_no_other(server: TestHost) -> None:
    uid = server.sh("id -u probe-other").strip()
    pid = server.sh(f"systemctl show -P MainPID tinyci-gate@{uid}").strip()
    assert len(server.sh("ls /run/tinyci-gate").split()) > 1
    assert server.sh(f"nsenter -t {pid} -m ls /run/tinyci-gate") == f"{uid}\n"


def test_a_user_cannot_lead_the_own_gate_into_that_of_another(server: TestHost) -> None:
    """All gates have one group, which every gate's socket lets in; and the user bends its way to the bus."""
    own, other = server.sh("id -u probe-other; id -u hello-quadlet").split()
    bus = f"/run/user/{own}/bus"
    invocation = server.show("hello-quadlet", "dbus.service", "InvocationID")
    calls = {}
    server.sh(f"mv {bus} {bus}.real && ln -s /run/tinyci-gate/{other}/bus {bus}", "probe-other")
    try:
        for member, signature, body in (
            ("LoadUnit", "s", '("dbus.service",)'),
            ("StopUnit", "ss", '("dbus.service", "replace")'),
        ):
            calls[member] = server.sh(
                f"cd /; /opt/tinyci/bin/python3 - unix:path=/run/tinyci-gate/{own}/bus {other} "
                f"/org/freedesktop/systemd1 {SYSTEMD}.Manager {member} {signature} {body!r}",
                "probe-other",
                stdin=CLIENT,
            ).strip()
    finally:
        server.sh(f"mv -T {bus}.real {bus}", "probe-other")
    assert all(answer.startswith("gone:") for answer in calls.values()), calls
    assert server.show("hello-quadlet", "dbus.service", "InvocationID") == invocation
    assert "/unit/" in ask(server, "LoadUnit", "s", '("dbus.service",)', target="probe-other")


def test_a_gate_that_crashes_each_time_is_started_ever_more_slowly(server: TestHost) -> None:
    """Its user can see to that it does; each start costs everybody."""
    gate = f"tinyci-gate@{server.sh('id -u probe-other').strip()}.service"
    show = f"systemctl show -P RestartUSecNext {gate}"
    server.sh(f"systemctl restart {gate}")
    try:
        for _ in range(2):
            server.sh(f"kill -SEGV $(systemctl show -P MainPID {gate})", "probe-other")
            server.sh(f"sleep 0.5; until systemctl is-active -q {gate}; do sleep 0.1; done", limit=20)
        assert server.sh(show) not in ("1s\n", "2s\n")
    finally:
        server.sh(f"systemctl restart {gate}")


def test_a_gate_takes_little_of_the_host_whatever_its_user_sends_through_it(server: TestHost) -> None:
    """A bus of the user's own fills it with what waits to be read; the daemon runs beside it."""
    unit = f"tinyci-gate@{server.sh('id -u probe').strip()}.service"
    shares = [int(server.show("root", unit, name)) for name in ("MemoryMax", "TasksMax", "CPUWeight")]
    assert shares == [64 << 20, 16, 20]
    pid = server.show("root", unit, "MainPID")
    size, threads = server.sh(f"awk '/^(VmHWM|Threads):/ {{ print $2 }}' /proc/{pid}/status").split()
    assert int(size) * 1024 < shares[0] / 4
    assert int(threads) < shares[1] / 2


def test_its_exposure_is_small(server: TestHost) -> None:
    report = server.sh("systemd-analyze security --no-pager tinyci-gate@$(id -u probe).service")
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert level
    assert float(level[1]) <= 1.0


def test_the_gate_follows_the_users_manager(server: TestHost) -> None:
    uid = server.sh("id -u probe-other").strip()
    server.sh(f"systemctl restart user@{uid}.service", limit=200)
    server.sh(f"until systemctl is-active -q tinyci-gate@{uid}.service; do sleep 0.1; done", limit=20)
    assert "/unit/" in ask(server, "LoadUnit", "s", '("dbus.service",)', target="probe-other")


JOB = "tinyci-build@" + "0" * 32
SYSTEM = "busctl --system call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager"


def as_daemon(server: TestHost, call: str) -> str:
    """Ask the system's manager as the daemon does: uid tinyci in tinyci.service, which polkit 126 also looks at."""
    result = server.run(
        "cg=/sys/fs/cgroup$(systemctl show -P ControlGroup tinyci.service); echo $$ >$cg/cgroup.procs && "
        f"exec setpriv --reuid tinyci --regid tinyci --clear-groups {SYSTEM} {call}"
    )
    return result.text.strip()


@pytest.mark.parametrize(
    "call",
    [
        "RestartUnit ss ssh.service replace",
        "StartUnit ss hello-root.service replace",
        "StopUnit ss hello-root.service replace",
        "StartTransientUnit 'ssa(sv)a(sa(sv))' evil.service fail 0 0",
        "StartTransientUnit 'ssa(sv)a(sa(sv))' hello-root.service fail 0 0",
        "StartUnit ss tinyci-build@../x.service fail",
        "StartUnit ss tinyci-build@x.service fail",
        f"StartUnit ss {JOB}.socket fail",
        f"StartTransientUnit 'ssa(sv)a(sa(sv))' {JOB}.timer fail 0 0",
        f"StartUnit ss x{JOB}.service fail",
        f"RestartUnit ss {JOB}.service replace",
        "Reload",
        "EnableUnitFiles asbb 1 ssh.service false false",
    ],
)
def test_polkit_refuses_the_daemon_everything_else(server: TestHost, call: str) -> None:
    answer = as_daemon(server, call)
    denials = ("Access denied", "interactive authentication required", "Interactive authentication required")
    invalid = ("is not valid", "Invalid unit name", "neither a valid invocation ID nor unit name")
    answers = (*denials, *invalid) if "../" in call else denials
    assert any(text in answer for text in answers), answer


def test_a_unit_that_is_not_listed_is_told_with_what_mends_that(server: TestHost, work: Callable[[str], Work]) -> None:
    work("probe-root").script("true")
    with server.repo_file("probe-root", units='["ssh.service"]'):
        outcome = server.deploy(work("probe-root"))
    assert outcome["state"] == "failed", outcome
    assert "polkit does not let tinyci restart ssh.service: add it to polkit.tinyciUnits" in outcome["reason"]


def test_polkit_lets_the_daemon_restart_a_listed_unit(server: TestHost) -> None:
    server.sh(
        "printf '[Service]\\nExecStart=sleep infinity\\n' >/etc/systemd/system/listed.service\n"
        "echo 'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat([\"listed.service\"]);'"
        " >/etc/polkit-1/rules.d/40-tinyci-listed.rules\n"
        "systemctl daemon-reload"
    )
    try:
        # polkitd reads its rules again when it notices the file, in its own time.
        for _ in range(50):
            answer = as_daemon(server, "RestartUnit ss listed.service replace")
            if answer.startswith("o "):
                break
        assert answer.startswith('o "/org/freedesktop/systemd1/job/'), answer
        assert "Access denied" in as_daemon(server, "StopUnit ss listed.service replace").replace(
            "Interactive authentication required", "Access denied"
        )
    finally:
        server.sh(
            "rm /etc/polkit-1/rules.d/40-tinyci-listed.rules /etc/systemd/system/listed.service;"
            "systemctl stop listed.service; systemctl daemon-reload"
        )


def test_polkit_lets_nobody_outside_the_service_use_its_rights(server: TestHost) -> None:
    """polkit 126 knows the unit that asks; a process of the same uid elsewhere has nothing of them."""
    answer = server.run(f"{SYSTEM} RestartUnit ss hello-root.service replace", "tinyci").text
    assert "uthentication required" in answer or "denied" in answer, answer
