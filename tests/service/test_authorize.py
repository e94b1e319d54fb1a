"""git's authorized_keys: what the role git writes, and what the command of a key lets through."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "ansible" / "roles" / "git" / "files"
ANN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIANN1111111111111111111111111111111111111111 ann@laptop"
BOB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBOB1111111111111111111111111111111111111111 bob"


class Keys:
    """A file of keys, and the apps' own lists."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "authorized_keys"
        self.apps = directory / "keys.d"
        self.apps.mkdir()

    def app(self, name: str, *keys: object) -> None:
        (self.apps / f"{name}.json").write_text(json.dumps({"repository": f"/srv/git/{name}.git", "keys": keys}))

    def run(self, *everywhere: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, FILES / "authorize.py", self.file, self.apps]
        return subprocess.run(command, input=json.dumps(everywhere), capture_output=True, text=True, check=False)

    def write(self, *everywhere: object) -> list[str]:
        """Write the file, and return its lines without the comment."""
        assert self.run(*everywhere).returncode == 0
        assert self.run(*everywhere).stdout == "\n", "a second time changes nothing"
        return [line for line in self.file.read_text().splitlines() if not line.startswith("#")]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_a_key_for_every_repository_has_its_comment_or_a_name(keys: Keys) -> None:
    assert keys.write(ANN, {"key": BOB, "name": "Bob B."}) == [
        f'restrict,command="key ann@laptop" {ANN}',
        f"restrict,command=\"key 'Bob B.'\" {BOB}",
    ]


def test_options_of_the_admins_own_stay(keys: Keys) -> None:
    own = f'from="10.0.0.0/8" {ANN}'
    keys.app("web", ANN)
    assert keys.write(own) == [own]


def test_a_key_of_several_apps_has_one_line(keys: Keys) -> None:
    keys.app("web", ANN, BOB)
    keys.app("api", ANN)
    assert keys.write() == [
        f'restrict,command="key ann@laptop /srv/git/api.git /srv/git/web.git" {ANN}',
        f'restrict,command="key bob /srv/git/web.git" {BOB}',
    ]
    assert keys.write(ANN)[0] == f'restrict,command="key ann@laptop" {ANN}'
    (keys.apps / "web.json").unlink()
    assert keys.write() == [f'restrict,command="key ann@laptop /srv/git/api.git" {ANN}']
    (keys.apps / "api.json").unlink()
    assert keys.write() == []


def test_without_any_keys_the_file_stays(keys: Keys) -> None:
    assert keys.run().stdout == "\n"
    assert not keys.file.exists()
    keys.file.write_text(f"# mine\n{ANN}\n\n")
    assert keys.run().stdout == "\n"
    assert keys.file.read_text() == f"# mine\n{ANN}\n\n"


def test_lines_by_hand_stay_but_let_no_limited_key_in_everywhere(keys: Keys) -> None:
    keys.file.write_text(f"{ANN}\n{BOB}\n")
    keys.app("web", BOB)
    assert keys.write() == [ANN, f'restrict,command="key bob /srv/git/web.git" {BOB}']
    # An earlier version wrote the file so.
    keys.file.write_text(f"# Written by Ansible.\nrestrict {BOB}\n")
    assert keys.write() == [f'restrict,command="key bob /srv/git/web.git" {BOB}']


@pytest.mark.parametrize(
    "bad",
    [{"key": ANN, "name": 'a"b'}, {"name": "x"}, {"key": f"no-pty {ANN}", "name": "x"}, "ssh-rsa A", 7],
)
def test_what_is_no_key_is_refused_and_nothing_is_written(keys: Keys, bad: object) -> None:
    keys.write(BOB)
    text = keys.file.read_text()
    refusal = keys.run(BOB, bad)
    assert refusal.returncode == 1
    assert len(refusal.stderr.splitlines()) == 1
    assert keys.file.read_text() == text


def test_an_apps_key_has_no_options(keys: Keys) -> None:
    keys.app("web", f'command="sh" {ANN}')
    assert "has options of its own" in keys.run().stderr


class Shell:
    """git-shell of a home with two repositories."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "git-shell-commands").mkdir()
        for name in ("key", "no-interactive-login"):
            (home / "git-shell-commands" / name).symlink_to(FILES / name)
        for name in ("git-lfs-authenticate", "git-lfs-transfer"):
            (home / "git-shell-commands" / name).symlink_to(FILES / "no-lfs")
        for name in ("web", "api"):
            subprocess.run(["git", "init", "--quiet", "--bare", home / f"{name}.git"], check=True)
        (home / "way.git").symlink_to("api.git")

    def run(self, wanted: str | None, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command of a key as sshd does."""
        environment = {**os.environ, "HOME": str(self.home), "SSH_ORIGINAL_COMMAND": wanted or ""}
        if wanted is None:
            del environment["SSH_ORIGINAL_COMMAND"]
        return self._run(" ".join(["key", "ann", *words]), environment)

    def run_plain(self, wanted: str) -> subprocess.CompletedProcess[str]:
        """Run what the holder of a key without a command wants."""
        return self._run(wanted, {**os.environ, "HOME": str(self.home)})

    def _run(self, command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        shell = ["git-shell", "-c", command]
        return subprocess.run(shell, env=environment, input="0000", capture_output=True, text=True, check=False)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize("verb", ["git-upload-pack", "git-receive-pack", "git receive-pack"])
def test_a_limited_key_reaches_its_repository_alone(shell: Shell, verb: str) -> None:
    own = f"{shell.home}/web.git"
    for path in (own, f"{shell.home}/web", "web.git", "~/web.git", f"{shell.home}/api.git/../web.git"):
        result = shell.run(f"{verb} '{path}'", own)
        assert result.returncode == 0, (path, result.stderr)
    for path in (f"{shell.home}/api.git", "api", f"{own}/../api.git", "way.git", "~/api.git", "/", "-x", "", "no.git"):
        result = shell.run(f"{verb} '{path}'", own)
        assert (result.returncode, result.stdout) == (128, ""), path
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("tinyci: "), result.stderr


@pytest.mark.parametrize("words", [(), ("/srv/git/web.git",)])
@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "sh",
        "key root",
        "cvs server",
        "git-shell -c x",
        "git-receive-pack",
        "git-receive-pack '/x' '/y'",
        "git-receive-pack '/x'; id",
        "git-receive-pack $(id)",
        "internal-sftp",
        "git-upload-pack-x '/x'",
        "git-upload-pack '/srv/git/web.git'\nid",
    ],
)
def test_nothing_else_comes_through(shell: Shell, wanted: str | None, words: tuple[str, ...]) -> None:
    result = shell.run(wanted, *words)
    assert result.returncode == 128
    assert result.stdout == ""
    assert result.stderr


@pytest.mark.parametrize("words", [None, (), ("/srv/git/web.git",)])
@pytest.mark.parametrize(
    "wanted", ["git-lfs-authenticate '/srv/git/web.git' upload", "git-lfs-transfer web.git upload"]
)
def test_git_lfs_is_told_where_its_content_can_be(shell: Shell, wanted: str, words: tuple[str, ...] | None) -> None:
    result = shell.run_plain(wanted) if words is None else shell.run(wanted, *words)
    assert (result.returncode, result.stdout) == (128, "")
    assert result.stderr.startswith("tinyci: this server takes no content of Git LFS, so nothing was pushed: ")
    assert len(result.stderr.splitlines()) == 1
    assert "git lfs migrate export" in result.stderr
    assert ".lfsconfig" in result.stderr


def test_the_hook_gets_the_name(shell: Shell, tmp_path: Path) -> None:
    hook = shell.home / "web.git" / "hooks" / "pre-receive"
    hook.write_text(f'#!/bin/sh\necho "$TINYCI_PUSHER" >{tmp_path}/pusher\n')
    hook.chmod(0o755)
    # A push by way of the key's command, as ssh would carry it.
    carrier = tmp_path / "ssh"
    carrier.write_text("#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND=$* exec git-shell -c \"key 'Ann A.'\"\n")
    carrier.chmod(0o755)
    environment = {**os.environ, "HOME": str(shell.home), "GIT_SSH": str(carrier), "GIT_SSH_VARIANT": "simple"}
    clone = tmp_path / "clone"
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    for command in (
        ["init", "--quiet", clone],
        ["-C", clone, *identity, "commit", "--quiet", "--allow-empty", "--message=First"],
        ["-C", clone, "push", "--quiet", f"git@server:{shell.home}/web.git", "HEAD:refs/heads/main"],
    ):
        subprocess.run(["git", *command], env=environment, check=True)
    assert (tmp_path / "pusher").read_text() == "Ann A.\n"
