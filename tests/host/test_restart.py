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
def repo(box: TestHost, request: pytest.FixtureRequest) -> Iterator[str]:
    """A repo whose units are to be tried; root's are allowed to the daemon by name."""
    places = "/etc/systemd/system /etc/systemd/user"
    rule = 'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat(["try-slow.service", "try-limited.service"]);'
    box.sh("cat >/etc/polkit-1/rules.d/40-tinyci-try.rules", stdin=rule)
    for name, text in (("slow", SLOW), ("limited", LIMITED)):
        box.sh(f"tee {' '.join(f'{place}/try-{name}.service' for place in places.split())}", stdin=text)
    box.sh("rm -f /tmp/restart.starts; touch /tmp/restart.starts; chmod 666 /tmp/restart.starts")
    user = "root" if request.param == "probe-root" else "probe"
    box.systemctl(user, "daemon-reload")
    yield request.param
    box.systemctl(user, "stop try-slow try-limited")
    box.sh("rm -f /etc/systemd/{system,user}/try-*.service /etc/polkit-1/rules.d/40-tinyci-try.rules")
    box.systemctl(user, "daemon-reload")


def test_a_restart_that_was_issued_before_a_kill_is_not_repeated(box: TestHost, work: Clone, repo: str) -> None:
    user = "root" if repo == "probe-root" else "probe"
    with box.repo_file(repo, units='["try-slow.service"]', settle='"500ms"'):
        work(repo).script("true")
        assert box.deploy(work(repo))["state"] == "succeeded"
        before = box.show(user, "try-slow.service", "InvocationID")
        work(repo).script("true # again")
        job = box.push(work(repo)).job
        box.wait(job, ("restarting",))
        systemctl = "systemctl" if user == "root" else f"systemctl --user -M {user}@"
        box.sh(f"until [ $({systemctl} show -P ActiveState try-slow) = activating ]; do sleep 0.05; done", limit=20)
        invocation = box.show(user, "try-slow.service", "InvocationID")
        box.kill("tinyci")
        done = box.wait(job)
    assert (done["state"], done["attempt"]) == ("succeeded", "1"), done
    assert box.show(user, "try-slow.service", "InvocationID") == invocation != before
    assert box.sh("cat /tmp/restart.starts") == "start\n" * 2, "one for each deploy"


def test_a_restart_that_ended_while_the_daemon_was_down_is_not_repeated(box: TestHost, work: Clone, repo: str) -> None:
    user = "root" if repo == "probe-root" else "probe"
    with box.repo_file(repo, units='["try-slow.service"]', settle='"500ms"'):
        work(repo).script("true")
        job = box.push(work(repo)).job
        box.wait(job, ("restarting",))
        systemctl = "systemctl" if user == "root" else f"systemctl --user -M {user}@"
        box.sh(f"until [ $({systemctl} show -P ActiveState try-slow) = activating ]; do sleep 0.05; done", limit=20)
        box.sh("systemctl kill --kill-whom=main --signal=KILL tinyci; systemctl stop tinyci")
        box.sh(f"until {systemctl} is-active -q try-slow; do sleep 0.1; done", limit=20)
        box.sh("systemctl start tinyci")
        done = box.wait(job)
    assert (done["state"], done["attempt"]) == ("succeeded", "1"), done
    assert box.sh("cat /tmp/restart.starts") == "start\n"


def test_quick_deploys_do_not_run_into_the_start_limit(box: TestHost, work: Clone, repo: str) -> None:
    user = "root" if repo == "probe-root" else "probe"
    with box.repo_file(repo, units='["try-limited.service"]', settle='"0s"'):
        seen = set()
        for number in range(3):
            work(repo).script(f"true # {number}")
            done = box.deploy(work(repo))
            assert done["state"] == "succeeded", done
            seen.add(box.show(user, "try-limited.service", "InvocationID"))
    assert len(seen) == 3
