"""`git push -o follow` shows the build while it runs and says how it ended; whatever becomes of it, the job goes on."""

import re
import signal
from collections.abc import Callable

import pytest
from follower import follow
from testhost import TestHost, Work

Clone = Callable[[str], Work]

HELD = "timeout 60 cat /tmp/followed.fifo"


@pytest.fixture
def release(server: TestHost) -> Callable[[], str]:
    """A build that says HELD waits for it."""
    server.fifo("/tmp/followed.fifo")
    return lambda: server.sh("timeout 20 sh -c ': >/tmp/followed.fifo'")


def test_output_comes_while_the_build_runs(server: TestHost, work: Clone, release: Callable[[], str]) -> None:
    work("probe").script(f"echo begun; {HELD}; echo over")
    with follow(server, work("probe")) as push:
        push.wait_for("begun")
        (job,) = push.jobs
        assert server.job(job)["state"] == "building", "it waits for us to have seen its first line"
        release()
        assert push.wait() == 0
    print(push.account())
    name = job[:8]
    assert push.lines[:3] == [
        f"started job {job} for probe.",
        f"== job {name} of probe, master",
        f"== Ctrl-C leaves it running; 'tinyci log -f {name}' on the server shows it again",
    ]
    lines = [line for line in push.lines[3:] if line != "== queued"]
    assert lines[:3] == ["== building", "begun", "over"]
    assert re.fullmatch(rf"== job {name} of probe succeeded after [0-9.]+ s\.", lines[-1])
    assert server.wait(job)["state"] == "succeeded"


def test_a_failing_build_is_told_and_does_not_fail_the_push(server: TestHost, work: Clone) -> None:
    work("probe").script("echo something is wrong; exit 3")
    with follow(server, work("probe")) as push:
        assert push.wait() == 0
    print(push.account())
    assert "something is wrong" in push.lines
    assert re.fullmatch(
        r"== job \w{8} of probe failed after [0-9.]+ s: ci-build\.sh exited with status 3\.", push.lines[-1]
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "the connection breaks"])
def test_a_push_that_is_not_followed_to_its_end_leaves_the_job_running(
    server: TestHost, work: Clone, release: Callable[[], str], how: int
) -> None:
    work("probe").script(f"echo begun; {HELD}; echo over")
    with follow(server, work("probe")) as push:
        push.wait_for("begun")
        (job,) = push.jobs
        push.signal(how)
    assert server.job(job)["state"] == "building"
    release()
    outcome = server.wait(job)
    assert (outcome["state"], outcome["output"]) == ("succeeded", "begun\nover\n")
    # As the push said: the same can be seen again.
    assert server.sh(f"tinyci log -f {job[:8]}") == "begun\nover\n"
    server.sh("timeout 60 sh -c 'while pgrep -f [h]ooks/post-receive; do sleep 0.1; done'")


def test_several_jobs_of_a_push_are_followed_in_turn(server: TestHost, work: Clone) -> None:
    work("probe").script("echo this is $TINYCI_REF")
    with follow(server, work("probe"), "HEAD:refs/heads/release-1", "HEAD:refs/heads/release-2") as push:
        assert push.wait() == 0
    assert len(push.jobs) == 2
    lines = [line for line in push.lines if line.startswith(("this is", "== job"))]
    assert [line.split()[2] for line in lines if line.startswith("== job")] == [
        name for job in push.jobs for name in (job[:8], job[:8])
    ]
    assert [line for line in lines if line.startswith("this is")] == [
        "this is refs/heads/release-1",
        "this is refs/heads/release-2",
    ]
    server.push(work("probe"), ":refs/heads/release-1", ":refs/heads/release-2")


def test_a_daemon_that_is_killed_is_waited_for(server: TestHost, work: Clone, release: Callable[[], str]) -> None:
    work("probe").script(f"echo begun; {HELD}; echo over")
    with follow(server, work("probe")) as push:
        push.wait_for("begun")
        server.kill("tinyci")
        push.wait_for("waiting for it, the job is not lost")
        release()
        assert push.wait() == 0
    assert [line for line in push.lines if line in ("begun", "over")] == ["begun", "over"], push.account()
    assert " of probe succeeded after " in push.lines[-1]


def test_what_a_build_prints_is_not_obeyed(server: TestHost, work: Clone) -> None:
    work("probe").script(r"printf 'a\033[31mred\033[0m\033[2J\007\n'")
    with follow(server, work("probe")) as push:
        assert push.wait() == 0
    assert r"ared\x1b[2J\x07" in push.lines


def test_a_push_may_ask_for_no_job(server: TestHost, work: Clone) -> None:
    work("probe").script("echo never")
    push = server.push(work("probe"), "--push-option=skip")
    assert push.jobs == []
    assert "no job for probe: the push asks for none" in push.text
    work("probe").script("echo never either", "Mend a letter [skip ci]")
    push = server.push(work("probe"))
    assert push.jobs == []
    assert "no job for probe: the commit's message says [skip ci]" in push.text


def test_an_option_that_is_not_known_is_named_and_the_push_goes_on(server: TestHost, work: Clone) -> None:
    work("probe").script("true")
    push = server.push(work("probe"), "--push-option=folow")
    assert "there is no push option 'folow': expected follow or skip" in push.text
    assert server.wait(push.job)["state"] == "succeeded"


def test_a_job_that_is_kept_for_later_cannot_be_followed_and_the_push_says_so(server: TestHost, work: Clone) -> None:
    work("probe").script("echo later")
    server.sh("systemctl stop redis-server@tinyci")
    try:
        with follow(server, work("probe")) as push:
            assert push.wait() == 0
    finally:
        server.sh("systemctl start redis-server@tinyci")
    first, about = push.lines
    job = first.split()[2]
    assert first.startswith(f"kept job {job} for probe")
    assert about.startswith(f"job {job} cannot be followed before Redis has it")
    assert server.wait(job)["output"] == "later\n"
