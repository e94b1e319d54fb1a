"""A deploy of a container costs no more than it is known to cost: whoever adds to that does it here as well."""

from app import App
from expenses import Budget, expenses

BUDGET = Budget(processes=59, calls=50, bytes=300_000, round_trips=65)


def test_a_deploy_of_a_container_keeps_to_its_budget(rootless: App) -> None:
    rootless.deploy("one version\n")
    rootless.commit({"www/index.html": "another version\n"})
    server = rootless.server
    with expenses(server, rootless.user) as total:
        job_id = server.push(rootless.work).job
        server.sh(f"tinyci wait {job_id}")
    assert server.job(job_id)["state"] == "succeeded"
    assert total.calls["RestartUnit"] == 1, "the daemon's calls are counted"
    assert total.processes["tinyci-verify"] == 1
    total.check(BUDGET)
