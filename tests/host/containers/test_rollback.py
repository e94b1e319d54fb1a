"""Going back: what depends on the units is up afterwards, people can go back too, and images do not pile up."""

import json
import re

import pytest
from app import App

MANAGER = "org.tinyci1 /org/tinyci1 org.tinyci1.Manager"


def outcome_of(app: App, call: str) -> dict[str, str]:
    """The job that a method of the manager made, at its end."""
    path = app.server.sh(f"busctl call {MANAGER} {call}")
    match = re.search(r"/_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})", path)
    assert match, path
    return app.server.wait("-".join(match.groups()))


def test_dependent_units_are_up_after_a_good_deploy_and_after_a_rollback(app: App) -> None:
    server, directory = app.server, f"/etc/systemd/{'system' if app.user == 'root' else 'user'}"
    dependents = [f"{app.name}-{relation}.service" for relation in ("BindsTo", "PartOf", "Requires")]
    rules = "/etc/polkit-1/rules.d/40-tinyci-dependent.rules"

    def states() -> list[str]:
        return [server.show(app.user, each, "ActiveState") for each in dependents]

    for each in dependents:
        relation = each.removeprefix(f"{app.name}-").removesuffix(".service")
        text = f"[Unit]\n{relation}={app.unit}\nAfter={app.unit}\n[Service]\nExecStart=sleep infinity\n"
        server.sh(f"cat >{directory}/{each}", stdin=text)
    server.sh(
        f"cat >{rules}", stdin=f"polkit.tinyciUnits = (polkit.tinyciUnits || []).concat({json.dumps(dependents)});"
    )
    server.sh(app.systemctl("daemon-reload"))
    try:
        with server.repo_file(app.name, settle='"1s"'):
            app.deploy_good()
            server.sh(app.systemctl(f"start {' '.join(dependents)}"))
            app.deploy_good({"www/more": "dependents"})
            assert states() == ["active"] * 3
            job = app.deploy("bad\n", command="exit 1")
            assert job["state"] == "rolled-back", job
            assert app.answer() == "good\n"
            assert states() == ["active"] * 3
            assert job["dependents"].split() == dependents
    finally:
        server.sh(f"{app.systemctl('stop ' + ' '.join(dependents))}; rm {directory}/{app.name}-*.service {rules}")
        server.sh(app.systemctl("daemon-reload"))


def test_a_dependent_that_was_down_stays_down(app: App) -> None:
    dependent, server = f"{app.name}-dependent.service", app.server
    file = f"/etc/systemd/{'system' if app.user == 'root' else 'user'}/{dependent}"
    server.sh(
        f"cat >{file}; {app.systemctl('daemon-reload')}",
        stdin=f"[Unit]\nRequires={app.unit}\n[Service]\nExecStart=sleep infinity\n",
    )
    try:
        with server.repo_file(app.name, settle='"1s"'):
            app.deploy_good()
            assert server.show(app.user, dependent, "ActiveState") == "inactive"
    finally:
        server.sh(f"rm {file}; {app.systemctl('daemon-reload')}")


def test_people_go_back_and_forth(app: App) -> None:
    server = app.server
    with server.repo_file(app.name, settle='"1s"', keep_images="3"):
        jobs = []
        for content in ("first\n", "second\n", "third\n"):
            jobs.append(app.deploy(content))
            assert jobs[-1]["state"] == "succeeded", jobs[-1]
        back = outcome_of(app, f"Rollback s {app.name}")
        assert (back["state"], back["success"], back["rollback_to"]) == ("succeeded", "true", jobs[1]["id"]), back
        assert app.answer() == "second\n"
        assert (back["revision"], back["pusher"]) == (jobs[1]["revision"], "root")
        back = outcome_of(app, f"RollbackTo s {jobs[0]['id']}")
        assert back["state"] == "succeeded", back
        assert app.answer() == "first\n"
        # From `first` the newest other success is the way back to `second`, by the job that built it.
        back = outcome_of(app, f"Rollback s {app.name}")
        assert (back["state"], back["rollback_to"]) == ("succeeded", jobs[1]["id"]), back
        assert app.answer() == "second\n"
        # What runs already is not restarted.
        before = server.show(app.user, app.unit, "InvocationID")
        same = outcome_of(app, f"RollbackTo s {jobs[1]['id']}")
        assert same["state"] == "unchanged", same
        assert server.show(app.user, app.unit, "InvocationID") == before
        # A push goes on as ever.
        job = app.deploy("fourth\n")
        assert job["state"] == "succeeded", job
        assert app.answer() == "fourth\n"


def test_images_are_kept_as_many_as_configured_and_no_more(app: App, request: pytest.FixtureRequest) -> None:
    server = app.server
    deploys = request.config.getoption("--deploys")
    with server.repo_file(app.name, settle='"200ms"', keep_images="2"):
        first = app.deploy("0\n")
        for number in range(1, deploys):
            # Every fourth is a bad one, so that its image is one more to get rid of.
            if number % 4 == 3:
                app.deploy(f"{number}\n", command="exit 1")
            else:
                job, good = app.deploy(f"{number}\n"), number
                assert job["state"] == "succeeded", job
        count = int(app.podman("images --noheading --quiet --no-trunc | sort -u | wc -l"))
        everything = int(app.podman("images --all --noheading --quiet --no-trunc | sort -u | wc -l"))
        containers = int(app.podman("ps --all --quiet | wc -l"))
        total = app.podman(f"images --noheading --format '{{{{.Tag}}}}' localhost/tinyci | grep -c '^{app.name}[.]'")
        print(f"{app.user}: after {deploys} deploys {count} images ({everything} with layers), {containers} containers")
        assert int(total) == 2
        assert app.answer() == f"{good}\n"
        back = outcome_of(app, f"RollbackTo s {first['id']}")
        assert back["state"] == "failed", back
        assert back["reason"] == f"the images of job {first['id']} are not kept any more: 2 are (keep_images)"
        app.podman("image prune --force")
        back = outcome_of(app, f"Rollback s {app.name}")
        assert back["state"] == "succeeded", "a prune leaves them alone"


def test_a_repo_that_nobody_knows_is_not_rolled_back(app: App) -> None:
    answer = app.server.run(f"busctl call {MANAGER} Rollback s nobody-knows")
    assert "there is no repo nobody-knows" in answer.text
    answer = app.server.run(f"busctl call {MANAGER} Rollback s {app.name}", "nobody")
    assert f"polkit wants an administrator to authenticate for org.tinyci1.rollback for {app.name}" in answer.text
