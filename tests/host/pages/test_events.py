"""Whoever follows the events on a host hears of each change of a job once, whatever becomes of the daemon."""

import json
import subprocess
from collections.abc import Callable

from testhost import HOST, TestHost, Work

Clone = Callable[[str], Work]


def test_a_follower_hears_of_each_change_once_also_while_the_daemon_restarts(server: TestHost, work: Clone) -> None:
    server.fifo("/tmp/events.fifo")
    work("probe").script("echo well")
    before = server.deploy(work("probe"))
    # As nobody: reading is open to everyone. Ctrl-C ends it, also where a shell started all these tests with `&`, which
    # has them ignore it.
    follow = "env --default-signal=INT tinyci events -f --json -n 1 probe"
    command = f"echo $$ >/tmp/events.pid; exec setpriv --reuid nobody --clear-groups {follow}"
    process = subprocess.Popen(
        [HOST, "exec", server.name, "--", "bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout
        newest = json.loads(process.stdout.readline())
        assert (newest["job"], newest["state"]) == (before["id"], "succeeded")
        work("probe").script("timeout 60 cat /tmp/events.fifo; exit 3")
        push = server.push(work("probe"))
        events = [json.loads(process.stdout.readline()) for _ in range(2)]
        server.sh("systemctl restart tinyci; : >/tmp/events.fifo", limit=60)
        server.wait(push.job)
        events.append(json.loads(process.stdout.readline()))
    finally:
        server.run("kill -INT $(cat /tmp/events.pid)")
        _, err = process.communicate(timeout=30)
    assert [(each["job"], each["state"]) for each in events] == [
        (push.job, state) for state in ("queued", "building", "failed")
    ]
    first, _, last = events
    assert (first["repo"], first["ref"], first["revision"]) == (
        "probe",
        "refs/heads/master",
        work("probe").git("rev-parse", "HEAD"),
    )
    assert (last["success"], last["reason"]) == ("false", "ci-build.sh exited with status 3")
    assert last["user"] == "probe"
    assert last["pusher"]
    assert b"waiting for it, no event is lost" in err
    listing = [json.loads(line) for line in server.sh("tinyci events --json -n 3 probe", "nobody").splitlines()]
    assert listing == events, "and they can be listed afterwards"
