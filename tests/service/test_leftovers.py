"""Whatever earlier builds did to the work tree, a checkout is exactly the revision."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkoutfixture import CheckoutFixture
from gitrepos import git


@pytest.fixture
def fixture(tmp_path: Path) -> CheckoutFixture:
    return CheckoutFixture(tmp_path)


# -- what builds leave behind ------------------------------------------------------------------------------------


def test_what_the_build_before_left_is_gone(fixture: CheckoutFixture) -> None:
    fixture.push(a="1")
    (fixture.clone.tree / ".gitignore").write_text("ignored\n")
    revision = fixture.clone.commit()
    fixture.clone.push()
    tree = fixture.check_out(revision)
    (tree / "new").write_text("x")
    (tree / "ignored").write_text("x")
    (tree / "dir" / "deep").mkdir(parents=True)
    (tree / "dir" / "deep" / "file").write_text("x")
    git(tree, "init", "--quiet", "nested")
    (tree / "read-only").mkdir()
    (tree / "read-only" / "file").write_text("x")
    (tree / "read-only").chmod(0o555)
    fixture.check_out(revision)
    assert set(os.listdir(tree)) == {".git", ".gitignore", "a"}


def test_what_the_build_before_changed_is_as_it_was(fixture: CheckoutFixture) -> None:
    revision = fixture.push(a="1", b="2", c="3", d="4")
    tree = fixture.check_out(revision)
    (tree / "a").write_text("x")
    (tree / "b").unlink()
    (tree / "c").rename(tree / "e")
    (tree / "d").unlink()
    (tree / "d").mkdir()
    fixture.git("add", "--all")
    fixture.check_out(revision)
    assert fixture.files() == {"a": "1", "b": "2", "c": "3", "d": "4"}


def commit(fixture: CheckoutFixture) -> None:
    git(fixture.tree, "commit", "--quiet", "--allow-empty", "--message", "Of the build")


def make_branch(fixture: CheckoutFixture) -> None:
    git(fixture.tree, "checkout", "--quiet", "-b", "main")


def make_sparse(fixture: CheckoutFixture) -> None:
    git(fixture.tree, "sparse-checkout", "set", "--no-cone", "/a")


def skip_worktree(fixture: CheckoutFixture) -> None:
    git(fixture.tree, "update-index", "--skip-worktree", "a")
    (fixture.tree / "a").write_text("of the build")


def assume_unchanged(fixture: CheckoutFixture) -> None:
    git(fixture.tree, "update-index", "--assume-unchanged", "a")
    (fixture.tree / "a").write_text("of the build")


def set_attributes(fixture: CheckoutFixture) -> None:
    info = fixture.tree / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* text eol=crlf\n")
    (fixture.tree / "a").unlink()


def set_excludes(fixture: CheckoutFixture) -> None:
    info = fixture.tree / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "exclude").write_text("*\n")
    (fixture.tree / "new").write_text("x")


def replace_object(fixture: CheckoutFixture) -> None:
    (fixture.tree / "a").write_text("of the build")
    git(fixture.tree, "replace", "HEAD:a", git(fixture.tree, "hash-object", "-w", "a").strip())
    (fixture.tree / "a").unlink()


def move_work_tree(fixture: CheckoutFixture) -> None:
    (fixture.workspace / "elsewhere").mkdir()
    (fixture.workspace / "elsewhere" / "precious").write_text("x")
    git(fixture.tree, "config", "core.worktree", str(fixture.workspace / "elsewhere"))


def contents(fixture: CheckoutFixture) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in fixture.tree.iterdir() if path.is_file()}


def setting(name: str, value: str) -> Callable[[CheckoutFixture], None]:
    def set_it(fixture: CheckoutFixture) -> None:
        git(fixture.tree, "config", name, value)
        (fixture.tree / "a").unlink()

    return set_it


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(commit, id="a commit"),
        pytest.param(make_branch, id="a branch"),
        pytest.param(make_sparse, id="sparse-checkout"),
        pytest.param(skip_worktree, id="skip-worktree"),
        pytest.param(assume_unchanged, id="assume-unchanged"),
        pytest.param(set_attributes, id="info/attributes"),
        pytest.param(set_excludes, id="info/exclude"),
        pytest.param(replace_object, id="replace"),
        pytest.param(move_work_tree, id="core.worktree"),
        pytest.param(setting("core.autocrlf", "true"), id="core.autocrlf"),
        pytest.param(setting("core.bare", "true"), id="core.bare"),
        pytest.param(setting("core.fileMode", "false"), id="core.fileMode"),
        pytest.param(setting("clean.requireForce", "true"), id="clean.requireForce"),
    ],
)
def test_what_the_build_before_told_git_does_not_matter(
    fixture: CheckoutFixture, change: Callable[[CheckoutFixture], None]
) -> None:
    first = fixture.push(a="1\n", b="2\n")
    fixture.check_out(first)
    change(fixture)
    fixture.check_out(first)
    assert contents(fixture) == {"a": b"1\n", "b": b"2\n"}
    second = fixture.push(a="1\n", b="3\n", c="4\n")
    fixture.check_out(second)
    assert contents(fixture) == {"a": b"1\n", "b": b"3\n", "c": b"4\n"}
    assert git(fixture.tree, "rev-parse", "HEAD").strip() == second
    assert not (fixture.workspace / "elsewhere").exists() or os.listdir(fixture.workspace / "elsewhere") == ["precious"]


HOOKS = ("post-checkout", "reference-transaction", "post-index-change")


def write_hooks(fixture: CheckoutFixture, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in HOOKS:
        (directory / name).write_text(f"#!/bin/sh\ntouch {fixture.workspace}/ran\n")
        (directory / name).chmod(0o755)


def test_a_hook_of_the_build_before_does_not_run(fixture: CheckoutFixture) -> None:
    revision = fixture.push(a="1")
    write_hooks(fixture, fixture.check_out(revision) / ".git" / "hooks")
    fixture.check_out(revision)
    assert not (fixture.workspace / "ran").exists()


def test_a_hook_of_the_users_own_does_not_run(
    fixture: CheckoutFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hooks(fixture, tmp_path / "hooks")
    (tmp_path / ".gitconfig").write_text(f"[core]\n\thooksPath = {tmp_path}/hooks\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    fixture.check_out(fixture.push(a="1"))
    assert not (fixture.workspace / "ran").exists()


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
def test_a_damaged_tree_is_repaired(fixture: CheckoutFixture, damage: Callable[[Path], None]) -> None:
    fixture.check_out(fixture.push(a="1"))
    damage(fixture.tree)
    revision = fixture.push(a="2")
    fixture.check_out(revision)
    assert fixture.files() == {"a": "2"}
    assert fixture.git("rev-parse", "HEAD").strip() == revision


def test_a_link_in_the_trees_place_is_not_followed(fixture: CheckoutFixture, tmp_path: Path) -> None:
    fixture.check_out(fixture.push(a="1"))
    shutil.rmtree(fixture.tree)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    fixture.tree.symlink_to(tmp_path / "elsewhere")
    fixture.check_out(fixture.push(a="2"))
    assert fixture.files() == {"a": "2"}
    assert os.listdir(tmp_path / "elsewhere") == ["precious"]


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_gits_own_environment_does_not_matter(
    fixture: CheckoutFixture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A user's manager may have such variables, whoever set them."""
    first, second = fixture.push(a="1"), fixture.push(a="2")
    with monkeypatch.context() as context:
        context.setenv(name, str(fixture.workspace / "elsewhere"))
        fixture.check_out(first)
        fixture.check_out(second)
    assert fixture.files() == {"a": "2"}
    assert fixture.git("rev-parse", "HEAD").strip() == second


def test_the_tree_survives_what_garbage_collection_takes_from_the_repository(fixture: CheckoutFixture) -> None:
    fixture.check_out(fixture.push(a="1"))
    revision = fixture.push(a="2")
    fixture.clone.git("reset", "--quiet", "--hard", revision)
    orphan = fixture.clone.git("commit-tree", f"{revision}^{{tree}}", "-m", "No parent").strip()
    fixture.clone.git("reset", "--quiet", "--hard", orphan)
    fixture.clone.push("+main")
    git(fixture.clone.bare, "reflog", "expire", "--expire=now", "--all")
    git(fixture.clone.bare, "gc", "--quiet", "--prune=now")
    fixture.check_out(orphan)  # HEAD of the tree was a commit that is no more
    assert fixture.files() == {"a": "2"}


def test_a_repository_that_moved_can_be_checked_out(fixture: CheckoutFixture, tmp_path: Path) -> None:
    revision = fixture.push(a="1")
    fixture.check_out(revision)
    fixture.clone.bare.rename(tmp_path / "moved.git")
    fixture.clone.bare = tmp_path / "moved.git"
    fixture.check_out(revision)
    assert fixture.files() == {"a": "1"}
