"""A restart happens once for each deploy, however often, however slowly, and whoever is killed meanwhile."""

from collections.abc import Callable, Iterator

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

# Each start of it is a line in the file; it is up after two seconds.
SLOW = """[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c "echo start >>/tmp/restart.starts; sleep 2; systemd-notify --ready; exec sleep infinity"
"""
# It may be started once in an hour.
LIMITED = """[Unit]
StartLimitIntervalSec=1h
StartLimitBurst=1
[Service]
ExecStart=sleep infinity
"""


@pytest.fixture(params=["probe", "probe-root"])
def repo(server: TestHost, request: pytest.FixtureRequest) -> Iterator[str]:
    """A repo whose units are to be tried; root's are allowed to the daemon by name."""
    places = "/etc/systemd/system /etc/systemd/user"
    rule = 'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat(["try-slow.service", "try-limited.service"]);'
    server.sh("cat >/etc/polkit-1/rules.d/40-tinyci-try.rules", stdin=rule)
    for name, text in (("slow", SLOW), ("limited", LIMITED)):
        server.sh(f"tee {' '.join(f'{place}/try-{name}.service' for place in places.split())}", stdin=text)
    server.sh("rm -f /tmp/restart.starts; touch /tmp/restart.starts; chmod 666 /tmp/restart.starts")
    user = "root" if request.param == "probe-root" else "probe"
    server.systemctl(user, "daemon-reload")
    yield request.param
    server.systemctl(user, "stop try-slow try-limited")
    server.sh("rm -f /etc/systemd/{system,user}/try-*.service /etc/polkit-1/rules.d/40-tinyci-try.rules")
    server.systemctl(user, "daemon-reload")


def test_a_restart_that_was_issued_before_a_kill_is_not_repeated(server: TestHost, work: Clone, repo: str) -> None:
    user = "root" if repo == "probe-root" else "probe"
    with server.repo_file(repo, units='["try-slow.service"]', settle='"500ms"'):
        work(repo).script("true")
        assert server.deploy(work(repo))["state"] == "succeeded"
        before = server.show(user, "try-slow.service", "InvocationID")
        work(repo).script("true # again")
        job = server.push(work(repo)).job
        server.wait(job, ("restarting",))
        systemctl = "systemctl" if user == "root" else f"systemctl --user -M {user}@"
        server.sh(f"until [ $({systemctl} show -P ActiveState try-slow) = activating ]; do sleep 0.05; done", limit=20)
        invocation = server.show(user, "try-slow.service", "InvocationID")
        server.kill("tinyci")
        outcome = server.wait(job)
    assert (outcome["state"], outcome["attempt"]) == ("succeeded", "1"), outcome
    assert server.show(user, "try-slow.service", "InvocationID") == invocation != before
    assert server.sh("cat /tmp/restart.starts") == "start\n" * 2, "one for each deploy"


def test_a_restart_that_ended_while_the_daemon_was_down_is_not_repeated(
    server: TestHost, work: Clone, repo: str
) -> None:
    user = "root" if repo == "probe-root" else "probe"
    with server.repo_file(repo, units='["try-slow.service"]', settle='"500ms"'):
        work(repo).script("true")
        job = server.push(work(repo)).job
        server.wait(job, ("restarting",))
        systemctl = "systemctl" if user == "root" else f"systemctl --user -M {user}@"
        server.sh(f"until [ $({systemctl} show -P ActiveState try-slow) = activating ]; do sleep 0.05; done", limit=20)
        server.sh("systemctl kill --kill-whom=main --signal=KILL tinyci; systemctl stop tinyci")
        server.sh(f"until {systemctl} is-active -q try-slow; do sleep 0.1; done", limit=20)
        server.sh("systemctl start tinyci")
        outcome = server.wait(job)
    assert (outcome["state"], outcome["attempt"]) == ("succeeded", "1"), outcome
    assert server.sh("cat /tmp/restart.starts") == "start\n"


def test_quick_deploys_do_not_run_into_the_start_limit(server: TestHost, work: Clone, repo: str) -> None:
    user = "root" if repo == "probe-root" else "probe"
    with server.repo_file(repo, units='["try-limited.service"]', settle='"0s"'):
        invocations = set()
        for number in range(3):
            work(repo).script(f"true # {number}")
            outcome = server.deploy(work(repo))
            assert outcome["state"] == "succeeded", outcome
            invocations.add(server.show(user, "try-limited.service", "InvocationID"))
    assert len(invocations) == 3
