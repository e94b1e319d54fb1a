"""`git push -o follow` shows the build while it runs and says how it ended; whatever becomes of it, the job goes on."""

import re
import signal
from collections.abc import Callable

import pytest
from follower import following
from testhost import TestHost, Work

Clone = Callable[[str], Work]

HELD = "timeout 60 cat /tmp/followed.fifo"


@pytest.fixture
def release(box: TestHost) -> Callable[[], str]:
    """A build that says HELD waits for it."""
    box.fifo("/tmp/followed.fifo")
    return lambda: box.sh("timeout 20 sh -c ': >/tmp/followed.fifo'")


def test_output_comes_while_the_build_runs(box: TestHost, work: Clone, release: Callable[[], str]) -> None:
    work("probe").script(f"echo begun; {HELD}; echo over")
    with following(box, work("probe")) as push:
        push.until("begun")
        (job,) = push.jobs
        assert box.job(job)["state"] == "building", "it waits for us to have seen its first line"
        release()
        assert push.ended() == 0
    print(push.account())
    name = job[:8]
    assert push.lines[:3] == [
        f"started job {job} for probe.",
        f"== job {name} of probe, master",
        f"== Ctrl-C leaves it running; 'tinyci log -f {name}' on the server shows it again",
    ]
    told = [line for line in push.lines[3:] if line != "== queued"]
    assert told[:3] == ["== building", "begun", "over"]
    assert re.fullmatch(rf"== job {name} of probe succeeded after [0-9.]+ s\.", told[-1])
    assert box.wait(job)["state"] == "succeeded"


def test_a_failing_build_is_told_and_does_not_fail_the_push(box: TestHost, work: Clone) -> None:
    work("probe").script("echo something is wrong; exit 3")
    with following(box, work("probe")) as push:
        assert push.ended() == 0
    print(push.account())
    assert "something is wrong" in push.lines
    assert re.fullmatch(
        r"== job \w{8} of probe failed after [0-9.]+ s: ci-build\.sh exited with status 3\.", push.lines[-1]
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "the connection breaks"])
def test_a_push_that_is_not_followed_to_its_end_leaves_the_job_running(
    box: TestHost, work: Clone, release: Callable[[], str], how: int
) -> None:
    work("probe").script(f"echo begun; {HELD}; echo over")
    with following(box, work("probe")) as push:
        push.until("begun")
        (job,) = push.jobs
        push.signal(how)
    assert box.job(job)["state"] == "building"
    release()
    done = box.wait(job)
    assert (done["state"], done["output"]) == ("succeeded", "begun\nover\n")
    # As the push said: the same can be seen again.
    assert box.sh(f"tinyci log -f {job[:8]}") == "begun\nover\n"
    box.sh("timeout 60 sh -c 'while pgrep -f [h]ooks/post-receive; do sleep 0.1; done'")


def test_several_jobs_of_a_push_are_followed_in_turn(box: TestHost, work: Clone) -> None:
    work("probe").script("echo this is $TINYCI_REF")
    with following(box, work("probe"), "HEAD:refs/heads/release-1", "HEAD:refs/heads/release-2") as push:
        assert push.ended() == 0
    assert len(push.jobs) == 2
    told = [line for line in push.lines if line.startswith(("this is", "== job"))]
    assert [line.split()[2] for line in told if line.startswith("== job")] == [
        name for job in push.jobs for name in (job[:8], job[:8])
    ]
    assert [line for line in told if line.startswith("this is")] == [
        "this is refs/heads/release-1",
        "this is refs/heads/release-2",
    ]
    box.push(work("probe"), ":refs/heads/release-1", ":refs/heads/release-2")


def test_a_daemon_that_is_killed_is_waited_for(box: TestHost, work: Clone, release: Callable[[], str]) -> None:
    work("probe").script(f"echo begun; {HELD}; echo over")
    with following(box, work("probe")) as push:
        push.until("begun")
        box.kill("tinyci")
        push.until("waiting for it, the job is not lost")
        release()
        assert push.ended() == 0
    assert [line for line in push.lines if line in ("begun", "over")] == ["begun", "over"], push.account()
    assert " of probe succeeded after " in push.lines[-1]


def test_what_a_build_prints_is_not_obeyed(box: TestHost, work: Clone) -> None:
    work("probe").script(r"printf 'a\033[31mred\033[0m\033[2J\007\n'")
    with following(box, work("probe")) as push:
        assert push.ended() == 0
    assert r"ared\x1b[2J\x07" in push.lines


def test_a_push_may_ask_for_no_job(box: TestHost, work: Clone) -> None:
    work("probe").script("echo never")
    pushed = box.push(work("probe"), "--push-option=skip")
    assert pushed.jobs == []
    assert "no job for probe: the push asks for none" in pushed.text
    work("probe").script("echo never either", "Mend a letter [skip ci]")
    pushed = box.push(work("probe"))
    assert pushed.jobs == []
    assert "no job for probe: the commit's message says [skip ci]" in pushed.text


def test_an_option_that_is_not_known_is_named_and_the_push_goes_on(box: TestHost, work: Clone) -> None:
    work("probe").script("true")
    pushed = box.push(work("probe"), "--push-option=folow")
    assert "there is no push option 'folow': expected follow or skip" in pushed.text
    assert box.wait(pushed.job)["state"] == "succeeded"


def test_a_job_that_is_kept_for_later_cannot_be_followed_and_the_push_says_so(box: TestHost, work: Clone) -> None:
    work("probe").script("echo later")
    box.sh("systemctl stop redis-server@tinyci")
    try:
        with following(box, work("probe")) as push:
            assert push.ended() == 0
    finally:
        box.sh("systemctl start redis-server@tinyci")
    kept, about = push.lines
    job = kept.split()[2]
    assert kept.startswith(f"kept job {job} for probe")
    assert about.startswith(f"job {job} cannot be followed before Redis has it")
    assert box.wait(job)["output"] == "later\n"
