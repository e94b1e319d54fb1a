"""The users of the pages: the file that the role web writes for Nginx."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "ansible" / "roles" / "web" / "files" / "users.py"
HASH = "$2y$05$abcdefghijklmnopqrstuuO0QbEWx0J5dQ9r6t0Fq0e0a0b0c0d0e"


def write(file: Path, users: dict[str, object]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, file, "root"]
    return subprocess.run(command, input=json.dumps(users), capture_output=True, text=True, check=False)


def is_hash_of(line: str, password: str) -> bool:
    """True if the line has the hash of that password, by openssl."""
    _, _, salt, _ = line.split(":", 1)[1].split("$")
    command = ["openssl", "passwd", "-6", "-salt", salt, "-stdin"]
    openssl = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    return openssl.stdout.strip() == line.split(":", 1)[1]


def test_a_password_becomes_a_hash_once(tmp_path: Path) -> None:
    file = tmp_path / "users"
    users: dict[str, object] = {"ann": "a $6$ word: with everything", "bob": HASH}
    assert write(file, users).stdout == "written\n"
    ann, bob = file.read_text().splitlines()
    assert is_hash_of(ann, "a $6$ word: with everything")
    assert bob == f"bob:{HASH}"
    assert file.stat().st_mode & 0o777 == 0o640
    again = write(file, users)
    assert (again.returncode, again.stdout) == (0, "")
    assert file.read_text().splitlines() == [ann, bob]


def test_another_password_replaces_it_and_who_is_left_out_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "users"
    write(file, {"ann": "one", "bob": "two"})
    bob = file.read_text().splitlines()[1]
    assert write(file, {"ann": "another", "bob": "two"}).stdout == "written\n"
    ann, other = file.read_text().splitlines()
    assert is_hash_of(ann, "another")
    assert other == bob
    write(file, {"bob": "two"})
    assert file.read_text() == f"{bob}\n"


@pytest.mark.parametrize(
    "users",
    [
        {"a:b": "hunter2"},
        {"": "hunter2"},
        {"#a": "hunter2"},
        {"a\nb": "hunter2"},
        {"a": ""},
        {"a": 5},
        {"a": "hunter2\n"},
    ],
)
def test_what_nginx_would_read_otherwise_is_refused(tmp_path: Path, users: dict[str, object]) -> None:
    process = write(tmp_path / "users", users)
    assert process.returncode != 0
    assert "cannot log in" in process.stderr
    assert "hunter2" not in process.stderr
    assert not (tmp_path / "users").exists()
