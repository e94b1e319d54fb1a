"""A build that could not print its last line ends all the same, on a host where somebody logs all the time."""

import time
from collections.abc import Callable, Iterator

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]


@pytest.fixture
def noise(server: TestHost) -> Iterator[None]:
    """Let an ordinary user write to the journal all the time."""
    loop = "setpriv --reuid nobody --regid nogroup --clear-groups sh -c 'while sleep 0.2; do logger noise; done'"
    server.sh(f"systemd-run -q --unit tinyci-test-noise {loop}")
    yield
    server.sh("systemctl stop tinyci-test-noise")


def test_a_build_that_was_killed_ends_in_spite_of_noise(server: TestHost, work: Clone, noise: None) -> None:
    work("probe").script("echo begun; kill -KILL $PPID; sleep 1")
    job = server.wait(server.push(work("probe")).job, limit=15)
    assert job["state"] == "failed"
    assert job["output"] == "begun\n"


def test_a_build_that_ignores_sigterm_is_cancelled_in_spite_of_noise(
    server: TestHost, work: Clone, noise: None
) -> None:
    work("probe").script("trap '' TERM; echo begun; sleep 600")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    begin = time.monotonic()
    server.sh(f"tinyci cancel {job}")
    assert server.wait(job)["state"] == "cancelled"
    assert time.monotonic() - begin < 18  # TimeoutStopSec= of the build, and ten seconds


HOME_UNWRITABLE = "mv ~/.cache ~/.cache.real; touch ~/.cache", "rm ~/.cache; mv ~/.cache.real ~/.cache"
DROP_IN = "~/.config/systemd/user/tinyci-build@.service.d"
NO_PROGRAM = (
    f"mkdir -p {DROP_IN}; printf '[Service]\\nExecStart=\\nExecStart=/no/such/program\\n' >{DROP_IN}/x.conf; "
    "systemctl --user daemon-reload",
    f"rm -r {DROP_IN}; systemctl --user daemon-reload",
)


@pytest.mark.parametrize(
    ("breakage", "status"), [(HOME_UNWRITABLE, "239"), (NO_PROGRAM, "203")], ids=["home unwritable", "no program"]
)
def test_a_build_that_never_prints_ends_in_spite_of_noise(
    server: TestHost, work: Clone, noise: None, breakage: tuple[str, str], status: str
) -> None:
    """systemd itself ends it before it begins (systemd.exec(5), "Process Exit Codes")."""
    do, undo = breakage
    work("probe-other").script("echo never")
    server.as_manager("probe-other", do)
    try:
        job = server.wait(server.push(work("probe-other")).job, limit=15)
    finally:
        server.as_manager("probe-other", undo)
    assert (job["state"], job["output"]) == ("failed", "")
    assert job["reason"].startswith(f"systemd could not start the build (status {status}, see systemd.exec(5)): ")
    work("probe-other").script("echo again")
    assert server.deploy(work("probe-other"))["output"] == "again\n"
