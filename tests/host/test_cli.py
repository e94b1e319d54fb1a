"""`tinyci` on a server: what it tells and whom it obeys, and how it exits."""

import json
import os
import pty
import select
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import pytest
from testhost import HOST, TestHost, Work

Clone = Callable[[str], Work]

# Seconds of the processor that an empty Python and a command need, of the best of some runs by turns.
NEEDED = """
import os, subprocess
spent = [], []
for _ in range(9):
    for command, times in zip((["/opt/tinyci/bin/python3", "-c", "pass"], ["tinyci", "%s"]), spent):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, process.returncode, usage = os.wait4(process.pid, 0)
        times.append(usage.ru_utime + usage.ru_stime)
print(*map(min, spent))
"""


@pytest.mark.parametrize(("command", "most"), [("--version", 4), ("jobs", 12)])
def test_it_starts_in_no_time(server: TestHost, command: str, most: int) -> None:
    """0.15 s where an empty Python needs 0.0125: machines differ."""
    empty, needs = map(float, server.sh("python3 -", "nobody", stdin=NEEDED % command).split())
    print(f"tinyci {command}: {needs * 1000:.0f} ms of the processor, an empty Python {empty * 1000:.0f} ms")
    assert needs < empty * most


@pytest.mark.parametrize(
    ("script", "status", "sentence"),
    [("echo built", 0, "succeeded"), ("echo broken; exit 3", 10, "failed")],
)
def test_commands_that_end_with_a_job_exit_by_it(
    server: TestHost, work: Clone, script: str, status: int, sentence: str
) -> None:
    work("probe").script(script)
    job = server.push(work("probe")).job
    log = server.run(f"tinyci log -f {job}", "nobody")
    assert (log.status, log.out) == (status, f"{script.split()[1].strip(';')}\n")
    assert f"tinyci: job {job[:8]} of probe {sentence} after " in log.err
    wait = server.run("tinyci wait probe", "nobody")
    assert wait.status == status
    assert wait.out.startswith(f"job {job[:8]} of probe {sentence} after ")
    again = server.run("tinyci run probe --wait")
    assert again.status == status, again.text
    assert again.out.startswith("started job ")
    assert server.run(f"tinyci retry {job} --wait").status == status


def test_a_cancelled_job_is_told_to_who_waits(server: TestHost, work: Clone) -> None:
    server.fifo("/tmp/waited.fifo")
    work("probe").script("echo begun; timeout 60 cat /tmp/waited.fifo")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    both = server.run(f"tinyci wait {job} & tinyci cancel {job} && wait $!")
    assert both.status == 13, both.text
    assert f"cancelled job {job[:8]} of probe." in both.out


def test_a_repo_is_named_by_its_newest_job_however_many_jobs_others_have(server: TestHost, work: Clone) -> None:
    work("probe-other").script("echo long ago")
    job = server.deploy(work("probe-other"))["id"]
    others = [str(uuid.uuid4()) for _ in range(110)]
    fields = f"ref refs/heads/main revision {'1' * 40}"
    server.redis_all([f"hset tinyci:job:{other} repo not-there-{at} {fields}" for at, other in enumerate(others)])
    server.redis(f"lpush tinyci:queue {' '.join(others)}")
    server.wait(others[-1])
    for _ in range(2):
        assert server.sh("tinyci log probe-other", "nobody") == "long ago\n"
        assert job[:8] in server.sh("tinyci jobs probe-other", "nobody")
        server.sh("systemctl restart tinyci")
    assert server.run("tinyci retry probe-other --wait").status == 0


def test_an_ordinary_user_sees_all_and_changes_nothing(server: TestHost, work: Clone) -> None:
    work("probe").script("true")
    job = server.deploy(work("probe"))["id"]
    for command in ("jobs", "jobs probe --state succeeded", "status", "repos", f"show {job}", f"log {job}"):
        assert server.run(f"tinyci {command}", "nobody").status == 0, command
    repos = json.loads(server.sh("tinyci repos --json", "nobody"))
    assert {"probe", "hello-quadlet"} <= {repo["name"] for repo in repos}
    for command, action in (
        (f"retry {job}", "retry for probe"),
        ("rollback probe", "rollback for probe"),
        ("run probe", "run for probe"),
        ("pause", "pause"),
        ("resume", "pause"),
    ):
        refusal = server.run(f"tinyci {command}", "nobody")
        assert refusal.status == 4, command
        assert refusal.err.startswith("tinyci: polkit wants an administrator to authenticate for org.tinyci1." + action)


@pytest.mark.parametrize(("password", "status"), [("right", 0), ("wrong", 4)])
def test_a_person_at_a_terminal_is_asked_for_a_password(server: TestHost, password: str, status: int) -> None:
    """As by systemctl: polkit's question is answered where the command runs."""
    server.sh("echo admin:right | chpasswd; usermod --append --groups sudo admin")
    ours, its = pty.openpty()
    # Over SSH, as polkit asks only who is in a session.
    command = [HOST, "ssh", server.name, "-tt", "-o", "ControlPath=none", "tinyci", "pause"]
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    output, end = b"", time.monotonic() + 90
    try:
        with suppress(OSError):  # EIO is the end of a terminal
            while time.monotonic() < end:
                if select.select([ours], [], [], 2)[0]:
                    output += os.read(ours, 4096)
                elif b"Password: " in output:
                    # The prompt comes before the terminal is ready to take one, and throws away what came earlier.
                    os.write(ours, f"{password}\n".encode())
        assert process.wait(60) == status, output.decode()
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()
        server.sh("tinyci resume; passwd --lock admin; gpasswd --delete admin sudo")
    assert b"Authentication is required to pause or resume deploys." in output
    assert (b"paused: pushes are queued" in output) == (status == 0)


def test_without_the_daemon_it_says_how_to_start_it(server: TestHost) -> None:
    server.sh("systemctl stop tinyci")
    try:
        for command in ("jobs", "log -f @", "pause"):
            result = server.run(f"tinyci {command}", "nobody")
            assert (result.status, result.err) == (5, "tinyci: the daemon does not run: systemctl start tinyci\n")
    finally:
        server.sh("systemctl start tinyci")


def test_pages_and_completions_are_where_they_are_looked_for(server: TestHost) -> None:
    for page in ("tinyci", "tinyci.toml", "tinyci.service", "org.tinyci1"):
        text = server.run(f"man --warnings {page} | head -n 8")
        assert (text.status, text.err) == (0, "")
        assert page in text.out
    server.sh(
        "test -f /usr/share/bash-completion/completions/tinyci -a -f /usr/local/share/zsh/site-functions/_tinyci"
        " -a -f /usr/share/fish/vendor_completions.d/tinyci.fish"
    )
    words = server.sh(
        "bash --norc -c 'source /usr/share/bash-completion/completions/tinyci; "
        'COMP_WORDS=(tinyci run prob) COMP_CWORD=2; _tinyci; echo "${COMPREPLY[@]}"\'',
        "nobody",
    )
    assert {"probe", "probe-root"} <= set(words.split())
