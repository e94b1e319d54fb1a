"""A checkout is exactly the revision that was pushed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkoutfixture import CheckoutFixture
from gitrepos import Clone, git
from servers import TREE
from tinyci.stage import checkout
from tinyci.stage.status import StageError


@pytest.fixture
def fixture(tmp_path: Path) -> CheckoutFixture:
    return CheckoutFixture(tmp_path)


# -- the revision ------------------------------------------------------------------------------------------------


def test_a_checkout_is_the_revision_that_was_pushed(fixture: CheckoutFixture) -> None:
    revision = fixture.push(a="1", sub__b="2")
    fixture.check_out(revision)
    assert fixture.files() == {"a": "1", "sub/b": "2"}
    assert fixture.git("rev-parse", "HEAD").strip() == revision
    assert fixture.git("status", "--porcelain") == ""


def test_the_short_revision_is_as_a_script_expects_it(fixture: CheckoutFixture) -> None:
    revision = fixture.push(a="1")
    fixture.check_out(revision)
    short = fixture.git("rev-parse", "--short", "HEAD").strip()
    assert len(short) >= 7
    assert revision.startswith(short)


def test_the_next_revision_takes_the_place_of_the_one_before(fixture: CheckoutFixture) -> None:
    fixture.check_out(fixture.push(a="1", old="x", sub__c="3"))
    revision = fixture.push(a="2", new="y", sub="now a file")
    fixture.check_out(revision)
    assert fixture.files() == {"a": "2", "new": "y", "sub": "now a file"}
    assert fixture.git("rev-parse", "HEAD").strip() == revision
    assert fixture.git("status", "--porcelain") == ""


def test_an_older_revision_can_be_checked_out_again(fixture: CheckoutFixture) -> None:
    first, second = fixture.push(a="1"), fixture.push(a="2", b="3")
    fixture.check_out(second)
    fixture.check_out(first)
    assert fixture.files() == {"a": "1"}


def test_the_same_revision_can_be_checked_out_again(fixture: CheckoutFixture) -> None:
    revision = fixture.push(a="1")
    fixture.check_out(revision)
    fixture.check_out(revision)
    assert fixture.files() == {"a": "1"}


def test_modes_and_links_are_those_of_the_revision(fixture: CheckoutFixture) -> None:
    fixture.clone.write("ci-build.sh", "#!/bin/sh\n", mode=0o755)
    fixture.clone.write("plain", "")
    (fixture.clone.tree / "link").symlink_to("plain")
    revision = fixture.clone.commit()
    fixture.clone.push()
    tree = fixture.check_out(revision)
    (tree / "ci-build.sh").chmod(0o644)
    (tree / "plain").chmod(0o755)
    (tree / "link").unlink()
    (tree / "link").symlink_to("/etc/passwd")
    fixture.check_out(revision)
    assert os.access(tree / "ci-build.sh", os.X_OK)
    assert not (tree / "plain").stat().st_mode & 0o111
    assert os.readlink(tree / "link") == "plain"


def test_a_revision_of_longer_hashes_can_be_checked_out(tmp_path: Path) -> None:
    fixture = CheckoutFixture(tmp_path, objects="sha256")
    revision = fixture.push(a="1")
    fixture.check_out(revision)
    assert len(revision) == 64
    assert fixture.files() == {"a": "1"}
    assert fixture.git("rev-parse", "HEAD").strip() == revision


def test_a_repository_that_was_made_anew_with_longer_hashes_can_be_checked_out(
    fixture: CheckoutFixture, tmp_path: Path
) -> None:
    fixture.check_out(fixture.push(a="1"))
    (tmp_path / "new").mkdir()
    new = CheckoutFixture(tmp_path / "new", objects="sha256")
    new.workspace, new.tree = fixture.workspace, fixture.tree
    new.check_out(new.push(a="2"))
    assert fixture.files() == {"a": "2"}


@pytest.mark.parametrize("options", [[], ["-a", "-m", "Release"]], ids=["lightweight", "annotated"])
def test_a_tag_can_be_checked_out(fixture: CheckoutFixture, options: list[str]) -> None:
    commit = fixture.push(a="1")
    fixture.push(a="2")
    fixture.clone.git("tag", *options, "v1", commit)
    fixture.clone.push("v1")
    fixture.check_out(fixture.clone.git("rev-parse", "v1").strip())  # what the hook gets
    assert fixture.files() == {"a": "1"}
    assert fixture.git("rev-parse", "HEAD").strip() == commit


def test_the_tip_of_a_ref_is_what_it_is_at_now(fixture: CheckoutFixture) -> None:
    fixture.push(a="1")
    newest = fixture.push(a="2")
    assert checkout.tip(str(fixture.clone.bare), "refs/heads/main") == newest


def test_a_ref_that_is_not_there_has_no_tip(fixture: CheckoutFixture) -> None:
    fixture.push(a="1")
    fixture.clone.push("main:next/below")
    with pytest.raises(StageError, match=r"there is no refs/heads/next in .*: push it, or name another ref") as info:
        checkout.tip(str(fixture.clone.bare), "refs/heads/next")
    assert info.value.verdict == "rejected"


def test_a_script_finds_tags_and_branches_as_in_a_clone(fixture: CheckoutFixture) -> None:
    fixture.push(a="1")
    git(fixture.clone.tree, "tag", "--annotate", "--message=x", "v1.0")
    git(fixture.clone.tree, "tag", "light")
    git(fixture.clone.tree, "branch", "caf\udce9")
    revision = fixture.push(a="2")
    fixture.clone.push("v1.0", "light", "refs/heads/*:refs/heads/*")
    fixture.check_out(revision)
    assert fixture.git("describe", "--tags").strip() == f"v1.0-1-g{fixture.git('rev-parse', '--short', 'HEAD').strip()}"
    assert fixture.git("tag").split() == ["light", "v1.0"]
    assert fixture.git("rev-parse", "origin/main").strip() == revision
    assert fixture.git("log", "--format=%H", "v1.0..origin/main").split() == [revision]
    assert fixture.git("rev-list", "--count", "HEAD").strip() == "2"


def test_a_tag_that_was_taken_back_is_not_there(fixture: CheckoutFixture) -> None:
    revision = fixture.push(a="1")
    fixture.clone.push("+HEAD:refs/tags/v1.0")
    fixture.check_out(revision)
    assert fixture.git("tag").split() == ["v1.0"]
    fixture.clone.push(":refs/tags/v1.0")
    fixture.check_out(revision)
    assert fixture.git("tag") == ""


def test_submodules_beside_the_repository_are_checked_out_with_theirs(fixture: CheckoutFixture, tmp_path: Path) -> None:
    inner, outer = Clone(tmp_path, "inner"), Clone(tmp_path, "outer")
    inner.write("c", "3")
    inner.commit()
    inner.push()
    allow = ("-c", "protocol.file.allow=always")
    outer.git(*allow, "submodule", "add", "--quiet", "../inner.git", "in")
    outer.write("b", "2")
    outer.commit()
    outer.push()
    fixture.push(a="1")
    fixture.clone.git(*allow, "submodule", "add", "--quiet", "../outer.git", "out")
    with_submodules = fixture.clone.commit()
    fixture.clone.push()
    files = {"a": "1", "out/b": "2", "out/in/c": "3"}
    for _ in range(2):
        fixture.check_out(with_submodules)
        assert {name: text for name, text in fixture.files().items() if not name.endswith(".gitmodules")} == files
        assert fixture.git("status", "--porcelain") == ""
        fixture.tree.joinpath("out/in/c").write_text("damage")
    inner.write("c", "4")
    inner.commit()
    inner.push()
    outer.git(*allow, "-C", "in", "pull", "--quiet", "origin", "main")
    outer.commit()
    outer.push()
    fixture.clone.git("-C", "out", "pull", "--quiet", "origin", "main")
    revision = fixture.clone.commit()
    fixture.clone.push()
    fixture.check_out(revision)
    assert fixture.files()["out/in/c"] == "4"
    fixture.check_out(fixture.push(a="5"))
    assert fixture.files() == {"a": "5"}


def test_objects_are_borrowed_not_copied(fixture: CheckoutFixture) -> None:
    fixture.clone.write("large", os.urandom(3_000_000))
    first = fixture.clone.commit()
    fixture.clone.push()
    for revision in (first, fixture.push(a="1"), first):
        fixture.check_out(revision)
        objects = [path for path in (fixture.tree / ".git" / "objects").rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in objects if not path.is_symlink()) < 10_000


# -- the cost ----------------------------------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the command line of each git that is started."""
    log, program = tmp_path / "started", tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


_COMMANDS = {
    *("checkout", "clean", "diff-tree", "for-each-ref", "ls-files", "ls-tree", "pack-objects", "read-tree"),
    *("rev-list", "rev-parse"),
}


def commands(started: Path) -> list[str]:
    """Return the commands of git that were started, in their order by name."""
    return sorted(next(word for word in line.split() if word in _COMMANDS) for line in started.read_text().splitlines())


@pytest.mark.parametrize("options", [[], ["-a", "-m", "Release"]], ids=["lightweight", "annotated"])
def test_a_checkout_starts_six_processes(fixture: CheckoutFixture, started: Path, options: list[str]) -> None:
    fixture.check_out(fixture.push(a="1"))
    fixture.push(a="2", sub__b="3")
    fixture.clone.git("tag", *options, "v1")
    fixture.clone.push("v1")
    revision = fixture.clone.git("rev-parse", "v1").strip()
    started.unlink()
    fixture.check_out(revision)
    assert commands(started) == ["checkout", "clean", "for-each-ref", "pack-objects", "rev-list", "rev-list"]


def test_a_checkout_in_a_tree_of_many_directories_starts_one_more(fixture: CheckoutFixture, started: Path) -> None:
    files = {f"d{number}__file": str(number) for number in range(300)}
    fixture.check_out(fixture.push(**files))
    revision = fixture.push(**{**files, "d7__file": "y"})
    started.unlink()
    fixture.check_out(revision)
    usual = ["checkout", "clean", "for-each-ref", "pack-objects", "rev-list", "rev-list"]
    assert commands(started) == sorted([*usual, "diff-tree"])


def test_a_build_imports_nothing_that_takes_long() -> None:
    """Each would take as long as a small repository's checkout does, and every job would pay."""
    slow = {
        *("asyncio", "concurrent", "dataclasses", "hashlib", "json", "pathlib", "shutil", "socket", "subprocess"),
        *("tempfile", "threading", "tomllib", "tinyci.stage.images", "tinyci.stage.podman", "tinyci.stage.units"),
    }
    program = f"import sys; sys.path.append({str(TREE / 'daemon')!r}); import tinyci.stage.build; "
    program += f"sys.exit(' '.join({slow} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == ""
