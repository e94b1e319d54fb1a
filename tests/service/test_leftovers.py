"""Whatever earlier builds did to the work tree, a checkout is exactly the revision."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkoutfixture import CheckoutFixture
from gitrepos import git


@pytest.fixture
def place(tmp_path: Path) -> CheckoutFixture:
    return CheckoutFixture(tmp_path)


# -- what builds leave behind ------------------------------------------------------------------------------------


def test_what_the_build_before_left_is_gone(place: CheckoutFixture) -> None:
    place.push(a="1")
    (place.clone.tree / ".gitignore").write_text("ignored\n")
    revision = place.clone.commit()
    place.clone.push()
    tree = place.checkout(revision)
    (tree / "new").write_text("x")
    (tree / "ignored").write_text("x")
    (tree / "dir" / "deep").mkdir(parents=True)
    (tree / "dir" / "deep" / "file").write_text("x")
    git(tree, "init", "--quiet", "nested")
    (tree / "read-only").mkdir()
    (tree / "read-only" / "file").write_text("x")
    (tree / "read-only").chmod(0o555)
    place.checkout(revision)
    assert set(os.listdir(tree)) == {".git", ".gitignore", "a"}


def test_what_the_build_before_changed_is_as_it_was(place: CheckoutFixture) -> None:
    revision = place.push(a="1", b="2", c="3", d="4")
    tree = place.checkout(revision)
    (tree / "a").write_text("x")
    (tree / "b").unlink()
    (tree / "c").rename(tree / "e")
    (tree / "d").unlink()
    (tree / "d").mkdir()
    place.git("add", "--all")
    place.checkout(revision)
    assert place.files() == {"a": "1", "b": "2", "c": "3", "d": "4"}


def commit(place: CheckoutFixture) -> None:
    git(place.tree, "commit", "--quiet", "--allow-empty", "--message", "Of the build")


def branch(place: CheckoutFixture) -> None:
    git(place.tree, "checkout", "--quiet", "-b", "main")


def sparse(place: CheckoutFixture) -> None:
    git(place.tree, "sparse-checkout", "set", "--no-cone", "/a")


def skip_worktree(place: CheckoutFixture) -> None:
    git(place.tree, "update-index", "--skip-worktree", "a")
    (place.tree / "a").write_text("of the build")


def assume_unchanged(place: CheckoutFixture) -> None:
    git(place.tree, "update-index", "--assume-unchanged", "a")
    (place.tree / "a").write_text("of the build")


def attributes(place: CheckoutFixture) -> None:
    info = place.tree / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* text eol=crlf\n")
    (place.tree / "a").unlink()


def excludes(place: CheckoutFixture) -> None:
    info = place.tree / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "exclude").write_text("*\n")
    (place.tree / "new").write_text("x")


def replaced(place: CheckoutFixture) -> None:
    (place.tree / "a").write_text("of the build")
    git(place.tree, "replace", "HEAD:a", git(place.tree, "hash-object", "-w", "a").strip())
    (place.tree / "a").unlink()


def elsewhere(place: CheckoutFixture) -> None:
    (place.workspace / "elsewhere").mkdir()
    (place.workspace / "elsewhere" / "precious").write_text("x")
    git(place.tree, "config", "core.worktree", str(place.workspace / "elsewhere"))


def contents(place: CheckoutFixture) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.tree.iterdir() if path.is_file()}


def setting(name: str, value: str) -> Callable[[CheckoutFixture], None]:
    def set_it(place: CheckoutFixture) -> None:
        git(place.tree, "config", name, value)
        (place.tree / "a").unlink()

    return set_it


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(commit, id="a commit"),
        pytest.param(branch, id="a branch"),
        pytest.param(sparse, id="sparse-checkout"),
        pytest.param(skip_worktree, id="skip-worktree"),
        pytest.param(assume_unchanged, id="assume-unchanged"),
        pytest.param(attributes, id="info/attributes"),
        pytest.param(excludes, id="info/exclude"),
        pytest.param(replaced, id="replace"),
        pytest.param(elsewhere, id="core.worktree"),
        pytest.param(setting("core.autocrlf", "true"), id="core.autocrlf"),
        pytest.param(setting("core.bare", "true"), id="core.bare"),
        pytest.param(setting("core.fileMode", "false"), id="core.fileMode"),
        pytest.param(setting("clean.requireForce", "true"), id="clean.requireForce"),
    ],
)
def test_what_the_build_before_told_git_does_not_matter(
    place: CheckoutFixture, change: Callable[[CheckoutFixture], None]
) -> None:
    first = place.push(a="1\n", b="2\n")
    place.checkout(first)
    change(place)
    place.checkout(first)
    assert contents(place) == {"a": b"1\n", "b": b"2\n"}
    second = place.push(a="1\n", b="3\n", c="4\n")
    place.checkout(second)
    assert contents(place) == {"a": b"1\n", "b": b"3\n", "c": b"4\n"}
    assert git(place.tree, "rev-parse", "HEAD").strip() == second
    assert not (place.workspace / "elsewhere").exists() or os.listdir(place.workspace / "elsewhere") == ["precious"]


HOOKS = ("post-checkout", "reference-transaction", "post-index-change")


def hooks(place: CheckoutFixture, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in HOOKS:
        (directory / name).write_text(f"#!/bin/sh\ntouch {place.workspace}/ran\n")
        (directory / name).chmod(0o755)


def test_a_hook_of_the_build_before_does_not_run(place: CheckoutFixture) -> None:
    revision = place.push(a="1")
    hooks(place, place.checkout(revision) / ".git" / "hooks")
    place.checkout(revision)
    assert not (place.workspace / "ran").exists()


def test_a_hook_of_the_users_own_does_not_run(
    place: CheckoutFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks(place, tmp_path / "hooks")
    (tmp_path / ".gitconfig").write_text(f"[core]\n\thooksPath = {tmp_path}/hooks\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    place.checkout(place.push(a="1"))
    assert not (place.workspace / "ran").exists()


# -- damage ------------------------------------------------------------------------------------------------------


def remove(path: str) -> Callable[[Path], None]:
    def damage(tree: Path) -> None:
        target = tree / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return damage


def overwrite(path: str, data: bytes = b"garbage") -> Callable[[Path], None]:
    def damage(tree: Path) -> None:
        remove(path)(tree)
        (tree / path).write_bytes(data)

    return damage


def lock(path: str) -> Callable[[Path], None]:
    return lambda tree: (tree / path).touch()


def file_for_tree(tree: Path) -> None:
    shutil.rmtree(tree)
    tree.write_text("x")


def link_for_tree(tree: Path) -> None:
    shutil.rmtree(tree)
    tree.symlink_to("nowhere")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(remove(""), id="no tree"),
        pytest.param(remove(".git"), id="no .git"),
        pytest.param(remove(".git/HEAD"), id="no HEAD"),
        pytest.param(remove(".git/objects"), id="no objects"),
        pytest.param(remove(".git/index"), id="no index"),
        pytest.param(remove(".git/config"), id="no config"),
        pytest.param(overwrite(".git"), id="a file for .git"),
        pytest.param(overwrite(".git/HEAD"), id="another HEAD"),
        pytest.param(overwrite(".git/objects"), id="a file for objects"),
        pytest.param(overwrite(".git/index"), id="another index"),
        pytest.param(overwrite(".git/config", b"[core\n"), id="another config"),
        pytest.param(overwrite(".git/objects/info"), id="a file for objects/info"),
        pytest.param(overwrite(".git/objects/info/alternates", b"/nowhere\n"), id="other alternates"),
        pytest.param(lock(".git/index.lock"), id="index.lock"),
        pytest.param(lock(".git/HEAD.lock"), id="HEAD.lock"),
        pytest.param(file_for_tree, id="a file for the tree"),
        pytest.param(link_for_tree, id="a link for the tree"),
    ],
)
def test_a_damaged_tree_is_repaired(place: CheckoutFixture, damage: Callable[[Path], None]) -> None:
    place.checkout(place.push(a="1"))
    damage(place.tree)
    revision = place.push(a="2")
    place.checkout(revision)
    assert place.files() == {"a": "2"}
    assert place.git("rev-parse", "HEAD").strip() == revision


def test_a_link_in_the_trees_place_is_not_followed(place: CheckoutFixture, tmp_path: Path) -> None:
    place.checkout(place.push(a="1"))
    shutil.rmtree(place.tree)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    place.tree.symlink_to(tmp_path / "elsewhere")
    place.checkout(place.push(a="2"))
    assert place.files() == {"a": "2"}
    assert os.listdir(tmp_path / "elsewhere") == ["precious"]


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_gits_own_environment_does_not_matter(
    place: CheckoutFixture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A user's manager may have it from who knows where."""
    first, second = place.push(a="1"), place.push(a="2")
    with monkeypatch.context() as context:
        context.setenv(name, str(place.workspace / "elsewhere"))
        place.checkout(first)
        place.checkout(second)
    assert place.files() == {"a": "2"}
    assert place.git("rev-parse", "HEAD").strip() == second


def test_the_tree_survives_what_garbage_collection_takes_from_the_repository(place: CheckoutFixture) -> None:
    place.checkout(place.push(a="1"))
    revision = place.push(a="2")
    place.clone.git("reset", "--quiet", "--hard", revision)
    orphan = place.clone.git("commit-tree", f"{revision}^{{tree}}", "-m", "No parent").strip()
    place.clone.git("reset", "--quiet", "--hard", orphan)
    place.clone.push("+main")
    git(place.clone.bare, "reflog", "expire", "--expire=now", "--all")
    git(place.clone.bare, "gc", "--quiet", "--prune=now")
    place.checkout(orphan)  # HEAD of the tree was a commit that is no more
    assert place.files() == {"a": "2"}


def test_a_repository_that_moved_can_be_checked_out(place: CheckoutFixture, tmp_path: Path) -> None:
    revision = place.push(a="1")
    place.checkout(revision)
    place.clone.bare.rename(tmp_path / "moved.git")
    place.clone.bare = tmp_path / "moved.git"
    place.checkout(revision)
    assert place.files() == {"a": "1"}
