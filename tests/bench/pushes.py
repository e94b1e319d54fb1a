"""Rows about one push: what the hook adds, when the script begins and the new version answers, where time goes."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

from benchhost import HOST, SCRIPT, BenchHost
from measurement import Row, median_line, milliseconds, table

CLONE = "/run/bench/clone"
_ANSWER = """
import socket, sys, time
wish = sys.argv[1].encode()
print("ready", flush=True)
while True:
    try:
        with socket.create_connection(("127.0.0.1", 8081), 5) as client:
            client.sendall(b"GET /index.html HTTP/1.0\\r\\n\\r\\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    except OSError:
        answer = b""
    if wish in answer:
        break
    time.sleep(0.005)
print(time.time())
"""
"""Prints when the app answers with a text: there is no event for that, so it is asked every 5 ms."""

_GIT_LOCALLY = """
export HOME=CLONE
cd CLONE || exit
for number in $(seq COUNT); do
    for repo in REPOS; do
        git -c user.name=A -c user.email=a@example.org commit -q --allow-empty -m "$number for $repo"
        begin=$EPOCHREALTIME
        git push -q --force /srv/git/$repo.git HEAD:refs/heads/master >/dev/null 2>&1
        echo "$repo $begin $EPOCHREALTIME"
        sleep 0.5
    done
done
"""
"""Pushes without SSH, one hook after the other, each when the job of the one before is over."""


def hook(host: BenchHost) -> Iterator[Row]:
    """Measure what a push costs with no hook, with the reference's, and with tinyci's."""
    host.work("probe-1").script("true")
    host.timed_push(host.work("probe-1"))
    with host.loop("probe-1", host.repository("loop-probe-1")):
        seconds = local_pushes(host, [host.repository("bare", "/dev/null"), "loop-probe-1", "probe-1"])
    bare = milliseconds(seconds["bare"]).median / 1000
    loop, product = (milliseconds(value - bare for value in seconds[repo]) for repo in ("loop-probe-1", "probe-1"))
    yield Row("what the hook adds to a push", loop, product, ratio_limit=1.0)


def local_pushes(host: BenchHost, repos: list[str]) -> dict[str, list[float]]:
    """Push to each repo in turn, on the host itself, as git; return the seconds of each push."""
    host.sh(
        f"install -d -o git -g git {CLONE} && cp -r --no-target-directory /srv/git/probe-1.git {CLONE}/.git &&"
        f" git config --file {CLONE}/.git/config core.bare false && chown -R git:git {CLONE}"
    )
    script = (
        _GIT_LOCALLY.replace("COUNT", str(host.count + 1)).replace("REPOS", " ".join(repos)).replace("CLONE", CLONE)
    )
    seconds: dict[str, list[float]] = {repo: [] for repo in repos}
    for line in host.sh(script, "git", limit=600).splitlines()[len(repos) :]:  # the first of each has more to send
        repo, begin, end = line.split()
        seconds[repo].append(float(end) - float(begin))
    return seconds


def first_line(host: BenchHost) -> Iterator[Row]:
    """Measure pushes up to the script's first line."""
    work = host.work("probe-1")
    work.script(SCRIPT)
    seconds: dict[str, list[float]] = {"loop-probe-1": [], "probe-1": []}
    with host.loop("probe-1", host.repository("loop-probe-1")):
        for number in range(host.count + 1):  # the first one copies 1,000 files
            for repo, values in seconds.items():
                work.commit({"files/0/0": f"change {number} for {repo}\n"})
                begin, _, text = host.timed_push(work, repo)
                values.append(host.wait_for_first_line() - begin)
                if repo == "probe-1":
                    host.wait(job_of(text))
    loop, product = (milliseconds(values[1:]) for values in seconds.values())
    yield Row("push start to the script's first line", loop, product, ratio_limit=1.0)


def job_of(text: str) -> str:
    """Return the id of the job that a push started."""
    found_id = re.search(r"(?:started|kept) job ([0-9a-f-]{36}) for", text)
    assert found_id, text
    return found_id[1]


def http(host: BenchHost) -> Iterator[Row]:
    """Measure pushes up to the new version's answer, and the restart in them against the user's own.

    Each deploys twice in its turn, and the second time counts: the first replaces an image of the other's.
    """
    user = repo = "hello-quadlet"
    work = host.work(repo)
    seconds: dict[str, list[float]] = {f"loop-{repo}": [], repo: []}
    restarts: list[float] = []
    own: list[float] = []
    with host.loop(user, host.repository(f"loop-{repo}"), f"{repo}.service"):
        for number in range(host.count + 1):
            for name, values in seconds.items():
                for turn in ("first", "second"):
                    text = f"{turn} version {number} of {name}."
                    work.commit({"www/index.html": text})
                    answer = awaiting_answer(host, text)
                    begin, _, output = host.timed_push(work, name)
                    duration = answered(answer) - begin
                    if name == repo:
                        job = host.wait(job_of(output))
                        assert job["state"] == "succeeded", job
                values.append(duration)
            restarts.append(float(job["restart_duration"]))
            command = f"begin=$EPOCHREALTIME; systemctl --user restart {repo}.service; echo $begin $EPOCHREALTIME"
            before, after = host.as_manager(user, command).split()
            own.append(float(after) - float(before))
    loop, product = (milliseconds(values[1:]) for values in seconds.values())
    restart = "rootless restart, against the user's own `systemctl --user restart`"
    yield Row(restart, milliseconds(own[1:]), milliseconds(restarts[1:]), ratio_limit=1.05)
    yield Row("push to the new version answering HTTP (Quadlet sample)", loop, product, ratio_limit=1.0)


def awaiting_answer(host: BenchHost, text: str) -> "subprocess.Popen[str]":
    """Start to ask the app for that text, as a client of it."""
    command = [HOST, "exec", host.name, "--", "timeout", "60", "python3", "-c", _ANSWER, text]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert client.stdout and client.stdout.readline() == "ready\n"
    return client


def answered(client: "subprocess.Popen[str]") -> float:
    """Return when the app answered."""
    output, _ = client.communicate(timeout=70)
    assert client.returncode == 0, "the new version does not answer"
    return float(output)


STEPS = (
    "git, SSH and the hook, until there is a job",
    "the daemon, until the job is building",
    "the daemon and the user's manager, until the stage's process runs",
    "the stage, until the script's first line",
    "the script's end, and all until the final state",
)


def timeline(host: BenchHost) -> str:
    """Return where the time of a push goes, step after step, as a table."""
    work = host.work("probe-1")
    work.script(SCRIPT)
    steps: list[list[float]] = [[] for _ in STEPS]
    for number in range(host.count + 1):
        work.commit({"files/0/0": f"step {number}\n"})
        begin, _, text = host.timed_push(work)
        first = host.wait_for_first_line()
        job = host.wait(job_of(text))
        times = (
            begin,
            epoch(job["created"]),
            epoch(job["started"]),
            epoch(job["output"]),
            first,
            epoch(job["finished"]),
        )
        for step, before, after in zip(steps, times, times[1:], strict=False):
            step.append(1000 * (after - before))
    lines = [median_line(name, [step[1:]], "ms") for name, step in zip(STEPS, steps, strict=True)]
    return table(("step of a push, one after the other", "time"), lines)


def epoch(text: str) -> float:
    """Return the seconds since the epoch of a timestamp, as tinyci or systemd writes it."""
    if systemd := re.search(r"\w{3} (\S+) (\S+) UTC", text):
        return datetime.fromisoformat(f"{systemd[1]}T{systemd[2]}").replace(tzinfo=UTC).timestamp()
    return datetime.fromisoformat(text).timestamp()
