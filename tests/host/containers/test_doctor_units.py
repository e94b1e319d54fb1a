"""What doctor knows of the units of containers: each failure is named, and what is printed for it mends it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from app import App
from breaking import Broken
from examined import SeenFinding, doctor, mend, named, wrong
from unitbreaks import DECIDED, LISTED, MENDED


@contextmanager
def broken(app: App, each: Broken) -> Iterator[list[SeenFinding]]:
    """What doctor finds wrong meanwhile; afterwards it is as it was."""
    folder = "/etc/systemd/system" if app.user == "root" else "/etc/systemd/user"
    names = {
        "name": app.name,
        "unit": app.unit,
        "quadlet": app.quadlet,
        "drop_ins": f"{folder}/{app.unit}.d",
        "systemctl": app.systemctl("").strip(),
    }
    given = "\n".join(f"export {name}='{value}'" for name, value in names.items())
    try:
        app.server.sh(f"{given}\n{each.do}")
        yield wrong(doctor(app.server, app.name))
    finally:
        app.server.sh(f"{given}\n{each.undo}")


def test_a_unit_that_cannot_be_restarted_is_named(app: App) -> None:
    """And mended as printed, where a command can do it."""
    server = app.server
    for each in MENDED:
        with broken(app, each) as found:
            assert named(found, each).mend
            mend(server, found)
            assert not wrong(doctor(server, app.name)), each
    for each in DECIDED:
        with broken(app, each) as found:
            assert not named(found, each).mend, "a person has to correct it"
    assert not wrong(doctor(server, app.name))
    app.deploy_good()


@pytest.mark.parametrize("app", ["rootful"], indirect=True)
def test_a_unit_of_roots_that_polkit_does_not_know_is_mended_as_printed(app: App) -> None:
    with broken(app, LISTED) as found:
        assert [each.check for each in found] == ["unit-listed"]
        assert named(found, LISTED)
        refused = app.deploy("refused\n")
        assert refused["state"] == "failed", refused
        assert f"polkit does not let tinyci restart {app.unit}" in refused["reason"]
        mend(app.server, found)
        assert not wrong(doctor(app.server, app.name))
        app.deploy_good()
    assert not wrong(doctor(app.server, app.name))
