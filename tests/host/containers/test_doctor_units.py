"""What doctor knows of the units of containers: each failure is named, and what is printed for it mends it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from app import App
from examined import Seen, doctor, mend, wrong


@contextmanager
def broken(app: App, do: str, undo: str) -> Iterator[list[Seen]]:
    """What doctor finds wrong meanwhile; afterwards all is as it was."""
    try:
        app.box.sh(do)
        yield wrong(doctor(app.box, app.name))
    finally:
        app.box.sh(undo)
    assert not wrong(doctor(app.box, app.name))


def test_a_unit_that_cannot_be_restarted_is_named(app: App) -> None:
    """And mended as printed, where a command can do it."""
    box, unit, quadlet = app.box, app.unit, app.quadlet
    stop, reload = app.systemctl(f"stop {unit}"), app.systemctl("daemon-reload")
    breaks = {
        "is masked": (app.systemctl(f"mask -q {unit}"), f"{app.systemctl(f'unmask -q {unit}')}; {reload}"),
        "has changed on disk": (f"touch -d '+1 minute' {quadlet}", f"touch {quadlet}; {reload}"),
        "was not read": (f"{stop}; mv {quadlet} /run/kept && {reload}; mv /run/kept {quadlet}", reload),
    }
    for words, (do, undo) in breaks.items():
        with broken(app, do, undo) as found:
            assert [each.check for each in found if words in each.sentence and each.mend] == ["unit"], (words, found)
            mend(box, found)
            assert not wrong(doctor(box, app.name)), words
    spoil = f"cp -a {quadlet} /run/kept && sed -i 's/^Image=/Imagee=/' {quadlet} && {reload}"
    with broken(app, spoil, f"mv /run/kept {quadlet}; {reload}") as found:
        (one,) = [each for each in found if each.check == "unit"]
        assert "unsupported key 'Imagee'" in one.sentence and quadlet in one.sentence
        assert not one.mend, "a person has to correct it"
    with box.repo_file(app.name, units='["no-such.service"]'):
        (one,) = [each for each in wrong(doctor(box, app.name)) if each.check == "unit"]
        assert "there is no unit no-such.service" in one.sentence and not one.mend
    app.good()


@pytest.mark.parametrize("app", ["rootful"], indirect=True)
def test_a_unit_of_roots_that_polkit_does_not_know_is_mended_as_printed(app: App) -> None:
    rules = f"/etc/polkit-1/rules.d/40-tinyci-{app.name}.rules"
    again = "systemctl reset-failed polkit; systemctl restart polkit"
    with broken(app, f"mv {rules} /run/kept; {again}", f"mv /run/kept {rules}; {again}") as found:
        assert [each.check for each in found] == ["unit-listed"]
        refused = app.deploy("refused\n")
        assert refused["state"] == "failed", refused
        assert f"polkit does not let tinyci restart {app.unit}" in refused["reason"]
        mend(app.box, found)
        assert not wrong(doctor(app.box, app.name))
        app.good()
