"""The output of a build arrives whole, in order, while it runs, and readable whatever it is."""

from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]


@pytest.mark.parametrize("repo", ["probe", "probe-root"])
def test_200000_lines_arrive_whole_and_in_order(server: TestHost, work: Clone, repo: str) -> None:
    work(repo).script("seq 1 200000")
    job = server.deploy(work(repo), limit=180)
    assert job["state"] == "succeeded"
    assert server.log(job["id"]) == [str(number) for number in range(1, 200001)]
    assert job["output"].endswith("199999\n200000\n")
    assert job["output"].startswith("[tinyci: cut; ")


def test_what_is_over_the_cap_is_told(server: TestHost, work: Clone) -> None:
    server.sh(
        "cp /etc/tinyci/tinyci.toml /root/tinyci.toml; printf '\\n[limits]\\nlog = 100000\\n' >>/etc/tinyci/tinyci.toml"
    )
    server.sh("systemctl reload tinyci")
    try:
        work("probe").script("seq 1 50000")
        job = server.deploy(work("probe"))
    finally:
        server.sh("cp /root/tinyci.toml /etc/tinyci/tinyci.toml; systemctl reload tinyci")
    lines = server.log(job["id"])
    assert lines[-1].startswith("[tinyci: 100000 bytes are kept")
    assert lines[:-1] == [str(number) for number in range(1, len(lines))]
    assert job["output"].endswith("50000\n"), "the tail is of the end, not of what the log kept"


def test_odd_bytes_survive_in_some_readable_form(server: TestHost, work: Clone) -> None:
    work("probe").script(
        "printf 'latin \\351 end\\n'\n"
        "printf '\\033[31mred\\033[0m\\n'\n"
        "head -c 1000000 /dev/zero | tr '\\0' x; echo\n"
        "printf '  indented\\ttab\\n'\n"
        "printf '<3>not a level\\n'\n"
        "printf 'to stderr\\n' >&2\n"
        "printf 'no final newline'\n"
    )
    job = server.deploy(work("probe"))
    assert job["state"] == "succeeded"
    assert server.log(job["id"]) == [
        r"latin \xe9 end",
        "\x1b[31mred\x1b[0m",
        "x" * 1_000_000,
        "  indented\ttab",
        "<3>not a level",
        "to stderr",
        "no final newline",
    ]
    assert job["output"].endswith("<3>not a level\nto stderr\nno final newline\n")


def test_lines_are_in_the_log_while_the_build_runs(server: TestHost, work: Clone) -> None:
    server.fifo("/tmp/gate.fifo")
    work("probe").script("echo before; echo after $(timeout 60 cat /tmp/gate.fifo)")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 0")
    assert server.log(job) == ["before"]
    assert server.job(job)["state"] == "building"
    server.sh("echo now >/tmp/gate.fifo")
    assert server.wait(job)["output"] == "before\nafter now\n"
