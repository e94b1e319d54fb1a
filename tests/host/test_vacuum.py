"""The journal belongs to its admin: what it throws away is not what tinyci has promised to keep."""

from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

VACUUM = "journalctl --sync; journalctl --rotate --vacuum-time=1s; journalctl --vacuum-files=1"


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_the_output_of_an_ended_job_outlives_the_journal(box: TestHost, work: Clone, repo: str) -> None:
    work(repo).script("seq 1 100")
    job = box.deploy(work(repo))
    box.sh(VACUUM)
    kept = [str(number) for number in range(1, 101)]
    assert box.sh("journalctl -o cat --no-pager -t tinyci-build | grep -c ^100$ || true") == "0\n", "it is gone there"
    assert (box.log(job["id"]), box.job(job["id"])["output"]) == (kept, "\n".join(kept) + "\n")
    box.sh("systemctl restart tinyci")
    assert box.job(job["id"])["output"] == "\n".join(kept) + "\n"
    assert "\n100\n" in box.sh(f"tinyci show {job['id']}")


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_a_build_is_followed_on_when_the_journal_is_vacuumed_under_it(box: TestHost, work: Clone, repo: str) -> None:
    box.fifo("/tmp/vacuum.fifo")
    work(repo).script(
        "for each in 1 2 3; do echo before $each; timeout 60 cat /tmp/vacuum.fifo; done; seq 1 1000; echo over"
    )
    job = box.push(work(repo)).job
    last = "0"
    for _ in range(3):
        last = box.redis(f"xread block 20000 count 1 streams tinyci:log:{job} {last}")[1]
        box.sh(VACUUM)
        box.sh("timeout 10 sh -c ': >/tmp/vacuum.fifo'")
    done = box.wait(job)
    lines = ["before 1", "before 2", "before 3", *(str(number) for number in range(1, 1001)), "over"]
    assert done["state"] == "succeeded"
    assert box.log(job) == lines, "all had been read before it was thrown away"
    assert done["output"] == "\n".join(lines) + "\n"
