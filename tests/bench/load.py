"""Rows about many jobs: drained, queued, listed; and about many lines."""

import time
import uuid
from collections.abc import Iterator

from benchhost import FIFO, LOOP_REDIS, REDIS, BenchHost
from measurement import Row, Sample, milliseconds
from pushes import job_of

JOBS = 1000
REPOS = [f"probe-{number}" for number in range(1, 9)]
LINES = 1_000_000
PATIENCE = 180
"""Seconds after which nobody waits any longer until jobs are known; the row then shows those."""

_RAW = "/etc/systemd/user/bench-raw@.service"


def drain(host: BenchHost) -> Iterator[Row]:
    """Measure how many jobs a second end, when 1,000 are queued."""
    revisions = {}
    for repo in REPOS:
        work = host.work(repo)
        revisions[repo] = work.script("true")
        host.repository(f"loop-{repo}")
        for name in (repo, f"loop-{repo}"):
            host.timed_push(work, name)
    host.sh("timeout 60 sh -c 'until [ -z \"$(ls -A /run/tinyci/jobs)\" ]; do sleep 0.2; done'")
    raw = raw_rate(host)
    loop = loop_rate(host, revisions)
    product = product_rate(host, revisions)
    what = f"{JOBS} trivial jobs over 8 repos of 8 users"
    yield Row(f"{what}, against raw oneshot units over the users' buses", raw, product, 0.25, is_rate=True)
    yield Row(f"{what}, against 8 loops", loop, product, 1.0, is_rate=True)


def rate(seconds: float) -> Sample:
    return Sample((JOBS / seconds,), "jobs/s")


def raw_rate(host: BenchHost) -> Sample:
    """Return the rate at which the users' managers run units that do nothing, each asked by one systemctl."""
    host.sh(f"printf '[Service]\\nType=oneshot\\nExecStart=/bin/true\\n' >{_RAW}")
    units = f"$(seq -f bench-raw@%.0f.service {JOBS // len(REPOS)})"
    start = "\n".join(
        f"uid=$(id -u {user}); XDG_RUNTIME_DIR=/run/user/$uid DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$uid/bus "
        f"SYSTEMCTL_FORCE_BUS=1 setpriv --reuid $uid --regid $uid --clear-groups systemctl --user $verb & "
        for user in REPOS
    )
    host.sh(f"verb=daemon-reload\n{start}\nwait")
    begin, end = host.sh(f'verb="start {units}"\necho $EPOCHREALTIME\n{start}\nwait\necho $EPOCHREALTIME').split()
    return rate(float(end) - float(begin))


def loop_rate(host: BenchHost, revisions: dict[str, str]) -> Sample:
    """Return the rate of the reference: a loop for each user, all at once."""
    commands = [f"del bench:queue:loop-{repo}" for repo in REPOS]
    for repo in REPOS * (JOBS // len(REPOS)):
        job_id = uuid.uuid4()
        commands.append(f"hset bench:job:{job_id} ref refs/heads/master revision {revisions[repo]}")
        commands.append(f"rpush bench:queue:loop-{repo} {job_id}")
    commands += [f"rpush bench:queue:loop-{repo} end" for repo in REPOS]
    for repo in REPOS:  # the first job copies all files
        host.sh(f"{LOOP_REDIS} rpush bench:queue:loop-{repo} end")
        host.start_loop(repo, f"loop-{repo}")
    host.sh(_until_loops_end())
    host.sh(LOOP_REDIS, stdin="\n".join(commands) + "\n")
    begin = time.time()
    for repo in REPOS:
        host.start_loop(repo, f"loop-{repo}")
    end = float(host.sh(_until_loops_end(), limit=600))
    assert {host.sh(f"{LOOP_REDIS} llen bench:queue:loop-{repo}").strip() for repo in REPOS} == {"0"}
    return rate(end - begin)


def _until_loops_end() -> str:
    units = " ".join(f"bench-loop-{repo}" for repo in REPOS)
    return f"while systemctl is-active -q {units}; do sleep 0.1; done; date +%s.%N"


def product_rate(host: BenchHost, revisions: dict[str, str]) -> Sample:
    """Return the rate of tinyci, when the jobs come at once."""
    last = add_jobs(host, {repo: revisions[repo] for repo in REPOS}, JOBS)
    begin = time.time()
    jobs = " ".join(last[-len(REPOS) :])
    is_over = f'[ "$({REDIS} hget tinyci:job:$id state)" = succeeded ]'
    end = host.sh(f"for id in {jobs}; do until {is_over}; do sleep 0.2; done; done; date +%s.%N", limit=900)
    return rate(float(end) - begin)


def add_jobs(host: BenchHost, revisions: dict[str, str], count: int) -> list[str]:
    """Put jobs into Redis as the hook does, each for a ref of its own, over the repos in turn; return their ids."""
    repos, ids, commands = list(revisions), [str(uuid.uuid4()) for _ in range(count)], []
    for number, job_id in enumerate(ids):
        repo = repos[number % len(repos)]
        fields = f"repo {repo} ref refs/bench/{number} revision {revisions[repo]}"
        commands += [f"hset tinyci:new:{job_id} {fields}", f"lpush tinyci:queue {job_id}"]
    host.redis_all(commands)
    return ids


def queue(host: BenchHost) -> Iterator[Row]:
    """Measure how soon the daemon knows of many jobs, what they cost in memory, and how long it takes to list them."""
    repo = "probe-1"
    work = host.work(repo)
    revision = work.script(f"timeout 900 cat {FIFO}")
    for count, limit, memory, listing in ((20_000, 10.0, None, 300.0), (100_000, 60.0, 20.0, None)):
        work.commit({"count": f"{count}\n"})
        _, _, text = host.timed_push(work)
        host.wait(job_of(text), ["building"])
        before = host.resident("tinyci")
        ids = [str(uuid.uuid4()) for _ in range(count)]
        seconds = known_after(host, repo, revision, ids)
        after = host.resident("tinyci")
        what = f"{count:,} jobs queued"
        yield Row(f"{what}: known to the daemon after", None, Sample((seconds,), "s"), limit=limit)
        yield Row(f"{what}: memory in the daemon", None, Sample((after - before,), "MB"), limit=memory)
        yield Row(f"{what}: `tinyci jobs`", None, milliseconds(timed(host, "tinyci jobs", 5)), limit=listing)
        forget_all(host)


def known_after(host: BenchHost, repo: str, revision: str, ids: list[str]) -> float:
    """Queue jobs behind one that builds; return the seconds until the last one is known."""
    lines = []
    for number, job_id in enumerate(ids):
        lines.append(f"hset tinyci:new:{job_id} repo {repo} ref refs/bench/{number} revision {revision}")
        lines.append(f"lpush tinyci:queue {job_id}")
    host.sh("cat >/run/bench/commands", stdin="\r\n".join(lines) + "\r\n")
    is_known = f'[ "$({REDIS} hget tinyci:job:{ids[-1]} state)" = queued ]'
    begin, end = host.sh(
        f"echo $EPOCHREALTIME; {REDIS} --pipe </run/bench/commands >/dev/null\n"
        f"until {is_known} || [ $SECONDS -ge {PATIENCE} ]; do sleep 0.2; done; echo $EPOCHREALTIME",
        limit=PATIENCE + 60,
    ).split()
    return float(end) - float(begin)


def timed(host: BenchHost, command: str, count: int) -> list[float]:
    """Run a command on the host so many times; return the seconds of each."""
    script = f"for n in $(seq {count}); do begin=$EPOCHREALTIME; {command} >/dev/null; echo $begin $EPOCHREALTIME; done"
    pairs = (line.split() for line in host.sh(script, limit=600).splitlines())
    return [float(end) - float(begin) for begin, end in pairs]


def forget_all(host: BenchHost) -> None:
    """Begin anew, without a job."""
    host.sh(
        "systemctl stop tinyci redis-server@tinyci\n"
        "systemctl --user -M probe-1@ stop 'tinyci-*@*'\n"
        "rm -rf /var/lib/redis-tinyci/* /run/tinyci/jobs/*\n"
        "systemctl start redis-server@tinyci tinyci tinyci-notify"
    )


def lines(host: BenchHost) -> Iterator[Row]:
    """Measure a build with a million lines, and how long questions take meanwhile."""
    host.work("probe-1").script(f"seq 1 {LINES}")
    _, _, text = host.timed_push(host.work("probe-1"))
    job_id = job_of(text)
    question = "busctl call org.tinyci1 /org/tinyci1 org.tinyci1.Manager ListJobs"
    questions = []
    while host.job(job_id)["state"] != "succeeded":
        questions += timed(host, question, 25)
    job = host.job(job_id)
    assert int(host.redis(f"xlen tinyci:log:{job_id}")[0]) == LINES, "no line is lost"
    yield Row(f"{LINES:,} lines, none lost", None, Sample((float(job["build_duration"]),), "s"), limit=37)
    questions.sort()
    yield Row("… ListJobs meanwhile, median", None, milliseconds(questions), limit=21)
    yield Row("… and p99", None, milliseconds([questions[len(questions) * 99 // 100]]), limit=45)
