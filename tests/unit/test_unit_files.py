"""The files of units that a rollback writes again are whole, and hold no secrets."""

from pathlib import Path

import pytest
from tinyci.stage import units
from tinyci.stage.units import Unit


def test_only_what_was_read_whole_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_FILE_MAX", 20)
    source, large, secret = (tmp_path / name for name in ("web.container", "large.conf", "env"))
    source.write_text("[Container]\n")
    large.write_text("x" * 21)
    secret.write_text("PASSWORD=x\n")
    files = tuple(map(str, (source, large, secret, tmp_path / "none")))
    unit = Unit("web.service", frozenset({"web.service"}), files=files, environment_files=(str(secret),))
    assert units.texts([unit]) == {str(source): "[Container]\n"}
