"""Doctor on units of containers: it names each problem, and what it prints mends it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from app import App
from breaking import Breakage
from examined import JsonFinding, doctor, finding_on, mend, wrong
from unitbreaks import LISTED, MENDABLE, OF_SYSTEM, UNDECIDED, WITHOUT_IMAGES


@contextmanager
def break_for_a_while(app: App, breakage: Breakage) -> Iterator[list[JsonFinding]]:
    """Break the unit for the time of the block; return doctor's findings."""
    folder = "/etc/systemd/system" if app.user == "root" else "/etc/systemd/user"
    names = {
        "name": app.name,
        "unit": app.unit,
        "quadlet": app.quadlet,
        "drop_ins": f"{folder}/{app.unit}.d",
        "systemctl": app.systemctl("").strip(),
    }
    exports = "\n".join(f"export {name}='{value}'" for name, value in names.items())
    try:
        app.server.sh(f"{exports}\n{breakage.do}")
        yield wrong(doctor(app.server, app.name))
    finally:
        app.server.sh(f"{exports}\n{breakage.undo}")


def test_a_unit_that_cannot_be_restarted_is_named(app: App) -> None:
    """And mended as printed, where a command can do it."""
    server = app.server
    for each in MENDABLE:
        with break_for_a_while(app, each) as findings:
            assert finding_on(findings, each).mend
            mend(server, findings)
            assert not wrong(doctor(server, app.name)), each
    for each in UNDECIDED:
        with break_for_a_while(app, each) as findings:
            assert not finding_on(findings, each).mend, "a person has to correct it"
    assert not wrong(doctor(server, app.name))
    app.deploy_good()


@pytest.mark.parametrize(("app", "breakage"), [("rootless", OF_SYSTEM), ("rootful", WITHOUT_IMAGES)], indirect=["app"])
def test_a_unit_whose_containers_are_another_users_is_named(app: App, breakage: Breakage) -> None:
    with break_for_a_while(app, breakage) as findings:
        assert not finding_on(findings, breakage).mend, "a person has to move it"
    assert not wrong(doctor(app.server, app.name))


@pytest.mark.parametrize("app", ["rootful"], indirect=True)
def test_a_unit_of_roots_that_polkit_does_not_know_is_mended_as_printed(app: App) -> None:
    with break_for_a_while(app, LISTED) as findings:
        assert [each.check for each in findings] == ["unit-listed"]
        assert finding_on(findings, LISTED)
        job = app.deploy("refused\n")
        assert job["state"] == "failed", job
        assert f"polkit does not let tinyci restart {app.unit}" in job["reason"]
        mend(app.server, findings)
        assert not wrong(doctor(app.server, app.name))
        app.deploy_good()
    assert not wrong(doctor(app.server, app.name))
