"""A build that changes what a container mounts, or its secrets, asks for a restart."""

import os
from pathlib import Path

import pytest
from tinyci.stage import podman, surroundings


def detail(*sources: Path, **secrets: str) -> dict[str, object]:
    mounts = [{"Source": str(source)} for source in sources]
    return {"Mounts": mounts, "Config": {"Secrets": [{"Name": name, "ID": value} for name, value in secrets.items()]}}


def test_a_mount_is_changed_by_what_was_written_since(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    file = tmp_path / "site" / "index.html"
    file.write_text("one")
    last = max(os.lstat(path).st_ctime for path in (tmp_path, tmp_path / "site", file))
    assert not surroundings.is_changed(detail(tmp_path), last + 1e-3)
    assert surroundings.is_changed(detail(tmp_path), last)
    assert surroundings.is_changed(detail(file), os.lstat(file).st_ctime)
    assert not surroundings.is_changed(detail(tmp_path / "gone"), 0.0)
    assert not surroundings.is_changed({}, 0.0)


def test_a_mount_with_very_many_files_is_taken_for_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_ENTRIES_MAX", 3)
    for name in "abcd":
        (tmp_path / name).touch()
    assert surroundings.is_changed(detail(tmp_path), os.lstat(tmp_path).st_ctime + 1000)


@pytest.mark.parametrize(("present", "is_changed"), [({"word": "1"}, False), ({"word": "2"}, True), ({}, True)])
def test_a_secret_is_changed_when_it_is_another(
    monkeypatch: pytest.MonkeyPatch, present: dict[str, str], *, is_changed: bool
) -> None:
    monkeypatch.setattr(podman, "secrets", lambda: present)
    assert surroundings.is_changed(detail(word="1"), 0.0) is is_changed
