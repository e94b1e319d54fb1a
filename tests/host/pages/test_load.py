"""Many kept jobs, many who follow one that runs, and some of them who take nothing of what they asked for."""

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import keptjobs
import pytest
from browser import leader
from testhost import TestHost, Work

Clone = Callable[[str], Work]

FOLLOWERS = Path(__file__).with_name("followers.py")
LINES = 5000
SILENT = 5


def resident(server: TestHost) -> tuple[float, float]:
    """Resident memory of tinyci-web in MB: now, and its peak."""
    text = server.sh("cat /proc/$(systemctl show -P MainPID tinyci-web)/status")
    size = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Vm")}
    return size["VmRSS"], size["VmHWM"]


def times(server: TestHost, paths: dict[str, str]) -> dict[str, float]:
    """The median of the seconds of some requests for each path, by name."""
    config = "".join(f'url = "http://localhost/{path}"\noutput = /dev/null\n' for path in paths.values())
    durations: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(5):
        lines = server.sh(
            "curl --silent --unix-socket /run/tinyci-web/socket --write-out '%{http_code} %{time_total}\\n' --config -",
            stdin=config,
        ).splitlines()
        for name, line in zip(paths, lines, strict=True):
            assert line.startswith("200 "), (name, line)
            durations[name].append(float(line.split()[1]))
    return {name: round(median(each), 3) for name, each in durations.items()}


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.config.getoption("--followers"), request.config.getoption("--kept")


def test_many_follow_a_job_and_none_waits_for_a_slow_one(
    server: TestHost, work: Clone, tmp_path: Path, figures: tuple[int, int]
) -> None:
    followers, count = figures
    server.sh("systemctl stop tinyci-web.service")  # the next one who asks has a new one
    jobs = keptjobs.fill(server, count, time.time() - 60)
    server.fifo("/tmp/many.fifo")
    work("probe").script(
        f"echo begun; timeout 200 cat /tmp/many.fifo; for n in $(seq {LINES - 1}); do\n"
        'echo "$n: compiled src/some/directory/file_$n.c, and what the compiler has to say of it"; done'
    )
    job = server.push(work("probe")).job
    server.wait(job, ("building",))
    paths = {
        "list": "",
        "filtered": "?state=failed&ref=main",
        "of a repo": "?repo=app-07",
        "job": f"jobs/{jobs[count // 2]}",
        "repo": "repos/app-07",
        "repos": "repos",
        "JSON": "api/jobs?limit=50",
        "metrics": "metrics",
    }
    try:
        begin = time.monotonic()
        times(server, {"list": ""})
        print(f"\n{count} kept jobs: {time.monotonic() - begin:.2f} s for the first lists")
        print("alone:", times(server, paths), "resident {:.0f} MB, at most {:.0f}".format(*resident(server)))
        command = [sys.executable, str(FOLLOWERS), f"/proc/{leader(server)}/root/run/tinyci-web/socket"]
        command += [f"/jobs/{job}/events?after=0", str(followers), str(SILENT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout
            assert client.stdout.readline() == "following\n"
            print("followed by", followers, "resident {:.0f} MB, at most {:.0f}".format(*resident(server)))
            server.sh("timeout 20 sh -c ': >/tmp/many.fifo'")
            busy = dict.fromkeys(paths, 0.0)
            while not select.select([client.stdout], [], [], 0)[0]:
                busy = {name: max(busy[name], seconds) for name, seconds in times(server, paths).items()}
            print("while they are told:", busy)
            report = json.loads(client.stdout.readline())
            assert client.wait(60) == 0
        assert server.wait(job)["state"] == "succeeded"
        end, (now, most) = time.time(), resident(server)
        print(f"{followers} had all {report['lines']} lines: {report}; resident {now:.0f} MB, at most {most:.0f}")
        print("afterwards:", times(server, paths), f"{time.time() - end:.1f} s")
        assert report["lines"] == [LINES], "every line, whoever else took none"
        assert report["last"] < 30
        assert most < 200
        assert max(busy.values()) < 5
    finally:
        keptjobs.forget(server, jobs)
