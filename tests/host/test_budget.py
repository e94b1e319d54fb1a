"""A job costs no more than it is known to cost: whoever adds to that does it here as well."""

from collections.abc import Callable

from expenses import Budget, expenses
from testhost import TestHost, Work

BUDGET = Budget(processes=8, calls=12, bytes=60_000, round_trips=26)


def test_a_trivial_job_keeps_to_its_budget(server: TestHost, work: Callable[[str], Work]) -> None:
    clone = work("probe-other")
    clone.script("true")
    server.deploy(clone)
    clone.commit({"file": "another version\n"})
    with expenses(server, "probe-other") as total:
        server.sh(f"tinyci wait {server.push(clone).job}")
    assert total.calls["StartUnit"] == 1, "the daemon's calls are counted"
    assert total.processes["tinyci-build"] == 1
    total.check(BUDGET)
