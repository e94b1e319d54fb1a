"""Going back: what depends on the units is up afterwards, people can go back too, and images do not pile up."""

import re

import pytest
from app import App

MANAGER = "org.tinyci1 /org/tinyci1 org.tinyci1.Manager"


def asked(app: App, call: str) -> dict[str, str]:
    """The job that a method of the manager made, at its end."""
    path = app.box.sh(f"busctl call {MANAGER} {call}")
    found = re.search(r"/_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})", path)
    assert found, path
    return app.box.wait("-".join(found.groups()))


@pytest.mark.parametrize("relation", ["Requires", "BindsTo", "PartOf"])
def test_a_dependent_unit_is_up_after_a_good_deploy_and_after_a_rollback(app: App, relation: str) -> None:
    dependent, box = f"{app.name}-dependent.service", app.box
    directory = "system" if app.user == "root" else "user"
    file = f"/etc/systemd/{directory}/{dependent}"
    rules = "/etc/polkit-1/rules.d/40-tinyci-dependent.rules"
    box.sh(
        f"cat >{file}; {app.systemctl('daemon-reload')}",
        stdin=f"[Unit]\n{relation}={app.unit}\nAfter={app.unit}\n[Service]\nExecStart=sleep infinity\n",
    )
    box.sh(f"cat >{rules}", stdin=f'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat(["{dependent}"]);')
    try:
        with box.repo_file(app.name, settle='"1s"'):
            app.good()
            box.sh(app.systemctl(f"start {dependent}"))
            app.good({"www/more": relation})
            assert box.show(app.user, dependent, "ActiveState") == "active"
            job = app.deploy("bad\n", server="exit 1")
            assert job["state"] == "rolled-back", job
            assert app.answer() == "good\n"
            assert box.show(app.user, dependent, "ActiveState") == "active"
            assert job["dependents"] == dependent
    finally:
        box.sh(f"{app.systemctl(f'stop {dependent}')}; rm {file} {rules}; {app.systemctl('daemon-reload')}")


def test_a_dependent_that_was_down_stays_down(app: App) -> None:
    dependent, box = f"{app.name}-dependent.service", app.box
    file = f"/etc/systemd/{'system' if app.user == 'root' else 'user'}/{dependent}"
    box.sh(
        f"cat >{file}; {app.systemctl('daemon-reload')}",
        stdin=f"[Unit]\nRequires={app.unit}\n[Service]\nExecStart=sleep infinity\n",
    )
    try:
        with box.repo_file(app.name, settle='"1s"'):
            app.good()
            assert box.show(app.user, dependent, "ActiveState") == "inactive"
    finally:
        box.sh(f"rm {file}; {app.systemctl('daemon-reload')}")


def test_people_go_back_and_forth(app: App) -> None:
    box = app.box
    with box.repo_file(app.name, settle='"1s"', keep_images="3"):
        jobs = []
        for content in ("first\n", "second\n", "third\n"):
            jobs.append(app.deploy(content))
            assert jobs[-1]["state"] == "succeeded", jobs[-1]
        back = asked(app, f"Rollback s {app.name}")
        assert (back["state"], back["success"], back["rollback_to"]) == ("succeeded", "true", jobs[1]["id"]), back
        assert app.answer() == "second\n"
        assert (back["revision"], back["pusher"]) == (jobs[1]["revision"], "root")
        back = asked(app, f"RollbackTo s {jobs[0]['id']}")
        assert back["state"] == "succeeded", back
        assert app.answer() == "first\n"
        # From `first` the newest other success is the way back to `second`, by the job that built it.
        back = asked(app, f"Rollback s {app.name}")
        assert (back["state"], back["rollback_to"]) == ("succeeded", jobs[1]["id"]), back
        assert app.answer() == "second\n"
        # A push goes on as ever.
        job = app.deploy("fourth\n")
        assert job["state"] == "succeeded", job
        assert app.answer() == "fourth\n"


def test_images_are_kept_as_many_as_configured_and_no_more(app: App, request: pytest.FixtureRequest) -> None:
    box = app.box
    deploys = request.config.getoption("--deploys")
    with box.repo_file(app.name, settle='"200ms"', keep_images="2"):
        first = app.deploy("0\n")
        for number in range(1, deploys):
            # Every fourth is a bad one, so that its image is one more to get rid of.
            if number % 4 == 3:
                app.deploy(f"{number}\n", server="exit 1")
            else:
                last = app.deploy(f"{number}\n")
                assert last["state"] == "succeeded", last
        count = int(app.podman("images --noheading --quiet --no-trunc | sort -u | wc -l"))
        everything = int(app.podman("images --all --noheading --quiet --no-trunc | sort -u | wc -l"))
        containers = int(app.podman("ps --all --quiet | wc -l"))
        kept = app.podman(f"images --noheading --format '{{{{.Tag}}}}' localhost/tinyci | grep -c '^{app.name}[.]'")
        print(f"{app.user}: after {deploys} deploys {count} images ({everything} with layers), {containers} containers")
        assert int(kept) == 2
        assert app.answer() == f"{last['id'] and deploys - 1 - (1 if (deploys - 1) % 4 == 3 else 0)}\n"
        back = asked(app, f"RollbackTo s {first['id']}")
        assert back["state"] == "failed", back
        assert back["reason"] == f"the images of job {first['id']} are not kept any more: 2 are (keep_images)"
        app.podman("image prune --force")
        back = asked(app, f"Rollback s {app.name}")
        assert back["state"] == "succeeded", "a prune leaves them alone"


def test_a_repo_that_nobody_knows_is_not_rolled_back(app: App) -> None:
    answer = app.box.run(f"busctl call {MANAGER} Rollback s nobody-knows")
    assert "there is no repo nobody-knows" in answer.text
    answer = app.box.run(f"busctl call {MANAGER} Rollback s {app.name}", "nobody")
    assert f"polkit wants an administrator to authenticate for org.tinyci1.rollback for {app.name}" in answer.text
