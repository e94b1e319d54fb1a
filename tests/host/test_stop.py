"""tinyci stops at once, whatever it does or waits for, and then goes on as if it had not stopped."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

LIMIT = 2.0
"""Seconds that SIGTERM may take."""

SLEEPING = "[Service]\nExecStart=sleep infinity\n"


def stop(server: TestHost) -> float:
    """Seconds from SIGTERM to the end, as systemd sees them."""
    return float(server.sh("a=$(date +%s%N); systemctl stop tinyci; b=$(date +%s%N); echo $((b - a))")) / 1e9


@contextmanager
def without_redis(server: TestHost) -> Iterator[None]:
    server.sh("systemctl stop redis-server@tinyci")
    server.sh("until systemctl show -P StatusText tinyci | grep -q 'Redis does not'; do sleep 0.05; done", limit=20)
    try:
        yield
    finally:
        server.sh("systemctl start redis-server@tinyci")


@contextmanager
def without_gate(server: TestHost) -> Iterator[None]:
    gate = f"tinyci-gate@{server.sh('id -u probe').strip()}"
    server.sh(f"systemctl stop {gate}")
    try:
        yield
    finally:
        server.sh(f"systemctl start {gate}")


@contextmanager
def with_a_unit(server: TestHost) -> Iterator[None]:
    server.sh("cat >/etc/systemd/user/sleeping.service; systemctl --user -M probe@ daemon-reload", stdin=SLEEPING)
    try:
        with server.repo_file("probe", units='["sleeping.service"]', settle='"4s"'):
            yield
    finally:
        server.sh("systemctl --user -M probe@ stop sleeping.service; rm /etc/systemd/user/sleeping.service")


@pytest.mark.parametrize("moment", ["idle", "building", "without redis", "without a manager", "settling"])
def test_it_stops_at_once_and_goes_on(server: TestHost, work: Clone, moment: str) -> None:
    server.fifo("/tmp/stop.fifo")
    server.sh("rm -f /tmp/stop.ran; touch /tmp/stop.ran; chmod 666 /tmp/stop.ran")
    waits = "timeout 60 cat /tmp/stop.fifo" if moment in ("building", "without redis") else "true"
    around: dict[str, AbstractContextManager[None]] = {
        "without a manager": without_gate(server),
        "settling": with_a_unit(server),
    }
    with around.get(moment, nullcontext()):
        work("probe").script(f"echo ran >>/tmp/stop.ran; echo begun; {waits}; echo over")
        job = server.push(work("probe")).job
        match moment:
            case "idle":
                server.wait(job)
                server.sh("until systemctl show -P StatusText tinyci | grep -q ^idle; do sleep 0.05; done", limit=20)
            case "building" | "without redis":
                server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
            case "without a manager":
                server.sh(
                    "until systemctl show -P StatusText tinyci | grep -q '^probe queued'; do sleep 0.05; done", limit=20
                )
            case "settling":
                server.wait(job, ("verifying",))
                invocation = server.show("probe", "sleeping.service", "InvocationID")
        with without_redis(server) if moment == "without redis" else nullcontext():
            took = [stop(server)]
            # And once more, when it has just taken up what there was. Without Redis it does not get ready.
            server.sh(f"systemctl start {'--no-block' if moment == 'without redis' else ''} tinyci", limit=30)
            server.sh("until systemctl show -P StatusText tinyci | grep -q .; do sleep 0.05; done", limit=20)
            took.append(stop(server))
        print(f"{moment}: {took}")
        assert max(took) < LIMIT
        server.sh("systemctl start tinyci", limit=30)
        if waits != "true":
            server.sh("timeout 10 sh -c ': >/tmp/stop.fifo'")
        if moment == "settling":
            assert server.wait(job)["state"] == "succeeded"
            assert server.show("probe", "sleeping.service", "InvocationID") == invocation != "", "restarted once"
    outcome = server.wait(job)
    assert (outcome["state"], outcome["attempt"], outcome["output"]) == ("succeeded", "1", "begun\nover\n")
    assert server.sh("cat /tmp/stop.ran") == "ran\n", "built once"
    assert server.log(job) == ["begun", "over"]
