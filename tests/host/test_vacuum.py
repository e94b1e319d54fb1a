"""The journal belongs to its admin: what it throws away is not what tinyci has promised to keep."""

from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

VACUUM = "journalctl --sync; journalctl --rotate --vacuum-time=1s; journalctl --vacuum-files=1"


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_the_output_of_an_ended_job_outlives_the_journal(server: TestHost, work: Clone, repo: str) -> None:
    work(repo).script("seq 1 100")
    job = server.deploy(work(repo))
    server.sh(VACUUM)
    numbers = [str(number) for number in range(1, 101)]
    assert server.sh("journalctl -o cat --no-pager -t tinyci-build | grep -c ^100$ || true") == "0\n", (
        "it is gone there"
    )
    assert (server.log(job["id"]), server.job(job["id"])["output"]) == (numbers, "\n".join(numbers) + "\n")
    server.sh("systemctl restart tinyci")
    assert server.job(job["id"])["output"] == "\n".join(numbers) + "\n"
    assert "\n100\n" in server.sh(f"tinyci show {job['id']}")


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_a_build_is_followed_on_when_the_journal_is_vacuumed_under_it(server: TestHost, work: Clone, repo: str) -> None:
    server.fifo("/tmp/vacuum.fifo")
    work(repo).script(
        "for each in 1 2 3; do echo before $each; timeout 60 cat /tmp/vacuum.fifo; done; seq 1 1000; echo over"
    )
    job = server.push(work(repo)).job
    last = "0"
    for _ in range(3):
        last = server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} {last}")[1]
        server.sh(VACUUM)
        server.sh("timeout 10 sh -c ': >/tmp/vacuum.fifo'")
    outcome = server.wait(job)
    lines = ["before 1", "before 2", "before 3", *(str(number) for number in range(1, 1001)), "over"]
    assert outcome["state"] == "succeeded"
    assert server.log(job) == lines, "all had been read before it was thrown away"
    assert outcome["output"] == "\n".join(lines) + "\n"
