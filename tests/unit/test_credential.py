"""A credential that is no text is named as what it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tinyci.model.toml import ConfigError
from tinyci.runtime import service


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with those of tinyci-notify."""
    (tmp_path / "urls").write_bytes(b"")
    (tmp_path / "redis-password").write_bytes(b"secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_credential_is_read_without_its_end(credentials: Path) -> None:
    assert service.credential("redis-password", "x.service") == "secret"


def test_a_credential_that_is_no_text_is_an_error_of_the_configuration(credentials: Path) -> None:
    (credentials / "redis-password").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"^the credential 'redis-password' is not UTF-8: write it anew, and restart"):
        service.credential("redis-password", "x.service")


@pytest.mark.parametrize("name", ["urls", "redis-password"])
def test_notify_names_the_credential_that_is_no_text(credentials: Path, name: str) -> None:
    (credentials / name).write_bytes(b"\xff\xfe")
    command = [sys.executable, "-m", "tinyci.notify.main"]
    process = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=60, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith(f"tinyci-notify: the credential '{name}' is not UTF-8"), process.stderr
    assert process.stderr.count("\n") == 1
