"""tinyci stops at once, whatever it does or waits for, and then goes on as if it had not stopped."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

LIMIT = 2.0
"""Seconds that SIGTERM may take."""

SLEEPING = "[Service]\nExecStart=sleep infinity\n"


def stop(box: TestHost) -> float:
    """Seconds from SIGTERM to the end, as systemd sees them."""
    return float(box.sh("a=$(date +%s%N); systemctl stop tinyci; b=$(date +%s%N); echo $((b - a))")) / 1e9


@contextmanager
def without_redis(box: TestHost) -> Iterator[None]:
    box.sh("systemctl stop redis-server@tinyci")
    box.sh("until systemctl show -P StatusText tinyci | grep -q 'Redis does not'; do sleep 0.05; done", limit=20)
    try:
        yield
    finally:
        box.sh("systemctl start redis-server@tinyci")


@contextmanager
def without_gate(box: TestHost) -> Iterator[None]:
    gate = f"tinyci-gate@{box.sh('id -u probe').strip()}"
    box.sh(f"systemctl stop {gate}")
    try:
        yield
    finally:
        box.sh(f"systemctl start {gate}")


@contextmanager
def with_a_unit(box: TestHost) -> Iterator[None]:
    box.sh("cat >/etc/systemd/user/sleeping.service; systemctl --user -M probe@ daemon-reload", stdin=SLEEPING)
    try:
        with box.repo_file("probe", units='["sleeping.service"]', settle='"4s"'):
            yield
    finally:
        box.sh("systemctl --user -M probe@ stop sleeping.service; rm /etc/systemd/user/sleeping.service")


@pytest.mark.parametrize("moment", ["idle", "building", "without redis", "without a manager", "settling"])
def test_it_stops_at_once_and_goes_on(box: TestHost, work: Clone, moment: str) -> None:
    box.fifo("/tmp/stop.fifo")
    box.sh("rm -f /tmp/stop.ran; touch /tmp/stop.ran; chmod 666 /tmp/stop.ran")
    waits = "timeout 60 cat /tmp/stop.fifo" if moment in ("building", "without redis") else "true"
    around: dict[str, AbstractContextManager[None]] = {
        "without a manager": without_gate(box),
        "settling": with_a_unit(box),
    }
    with around.get(moment, nullcontext()):
        work("probe").script(f"echo ran >>/tmp/stop.ran; echo begun; {waits}; echo over")
        job = box.push(work("probe")).job
        match moment:
            case "idle":
                box.wait(job)
                box.sh("until systemctl show -P StatusText tinyci | grep -q ^idle; do sleep 0.05; done", limit=20)
            case "building" | "without redis":
                box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
            case "without a manager":
                box.sh(
                    "until systemctl show -P StatusText tinyci | grep -q '^probe queued'; do sleep 0.05; done", limit=20
                )
            case "settling":
                box.wait(job, ("verifying",))
                invocation = box.show("probe", "sleeping.service", "InvocationID")
        with without_redis(box) if moment == "without redis" else nullcontext():
            took = [stop(box)]
            # And once more, when it has just taken up what there was. Without Redis it does not get ready.
            box.sh(f"systemctl start {'--no-block' if moment == 'without redis' else ''} tinyci", limit=30)
            box.sh("until systemctl show -P StatusText tinyci | grep -q .; do sleep 0.05; done", limit=20)
            took.append(stop(box))
        print(f"{moment}: {took}")
        assert max(took) < LIMIT
        box.sh("systemctl start tinyci", limit=30)
        if waits != "true":
            box.sh("timeout 10 sh -c ': >/tmp/stop.fifo'")
        if moment == "settling":
            assert box.wait(job)["state"] == "succeeded"
            assert box.show("probe", "sleeping.service", "InvocationID") == invocation != "", "restarted once"
    done = box.wait(job)
    assert (done["state"], done["attempt"], done["output"]) == ("succeeded", "1", "begun\nover\n")
    assert box.sh("cat /tmp/stop.ran") == "ran\n", "built once"
    assert box.log(job) == ["begun", "over"]
