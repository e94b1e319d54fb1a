"""Prints what a push costs: python tests/bench/figures.py HOST, a test host that is up and provisioned.

Pushes go over SSH into the host, as a person's; both sides have one clock.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))
from testhost import TestHost, Work

COUNT = 20


def main() -> None:
    server = TestHost(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        work = Work(Path(directory), "probe")
        work.commit({f"files/{number // 50}/{number}": f"{number}\n" * 50 for number in range(1000)})
        work.script("date +%s.%N")
        server.deploy(work)  # the first one copies 1,000 files
        first_line, with_hook, without = [], [], []
        for number in range(COUNT):
            work.commit({"files/0/0": f"change {number}\n"})
            start = time.time()
            job = server.push(work).job
            with_hook.append(time.time() - start)
            first_line.append(float(server.wait(job)["output"]) - start)
            server.sh("git config --file /srv/git/probe.git/config core.hooksPath /dev/null")
            work.commit({"files/0/0": f"another change {number}\n"})
            start = time.time()
            server.push(work)
            without.append(time.time() - start)
            server.sh("git config --file /srv/git/probe.git/config core.hooksPath /opt/tinyci/hooks")
    show("push start to the script's first line", first_line)
    show("a push with the hook", with_hook)
    show("a push without it", without)
    added = [with_ - without_ for with_, without_ in zip(with_hook, without, strict=True)]
    show("what the hook adds", added)
    memory = server.sh("grep -E 'VmRSS|RssAnon' /proc/$(systemctl show -P MainPID tinyci)/status")
    print("the daemon, idle: " + " ".join(memory.split()))


def show(what: str, seconds: list[float]) -> None:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{what}: median {middle * 1000:.0f} ms ({low * 1000:.0f} to {high * 1000:.0f}), {len(seconds)} times")


if __name__ == "__main__":
    main()
