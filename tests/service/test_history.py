"""A work tree is a repository wherever it is copied to: in a container, where the bare repository is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkoutfixture import CheckoutFixture
from gitrepos import git
from servers import TREE
from tinyci.stage import history


@pytest.fixture(params=[history._BATCH, 1], ids=["short", "long"])
def fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> CheckoutFixture:
    """A fixture with a history that is not worth a pack which is kept, and with one that is, however short."""
    monkeypatch.setattr(history, "_BATCH", request.param)
    return CheckoutFixture(tmp_path)


class Copy:
    """A copy of the work tree where the bare repository cannot be seen, as `COPY . .` makes one in a container."""

    def __init__(self, fixture: CheckoutFixture) -> None:
        self._bare = fixture.clone.bare
        self._tree = fixture.tree.with_name("copy")
        shutil.rmtree(self._tree, ignore_errors=True)
        shutil.copytree(fixture.tree, self._tree, symlinks=True)

    def git(self, *arguments: str) -> str:
        """Return all that git says there, complaints included."""
        hidden = self._bare.with_name("hidden.git")
        self._bare.rename(hidden)
        try:
            return git(self._tree, *arguments).strip()
        finally:
            hidden.rename(self._bare)

    def check(self, fixture: CheckoutFixture, revision: str) -> None:
        """Check that git says there what it says in a person's clone, where `revision` is checked out."""
        person = fixture.clone
        assert self.git("rev-parse", "HEAD") == revision
        for command in (
            ("rev-parse", f"{revision}^{{tree}}"),
            ("log", "--format=%H %s", revision),
            ("ls-tree", "-r", "--name-only", revision),
            ("diff-tree", "-r", "-m", "--name-only", revision),
            ("rev-list", "--count", revision),
        ):
            assert self.git(*command) == person.git(*command).strip()
        assert self.git("log", "--format=%h", "--all")
        assert self.git("show", "--no-patch", "--format=%an") == "Lea"
        assert self.git("status", "--porcelain") == ""


def kept_packs(fixture: CheckoutFixture) -> dict[str, int]:
    """Return the packs that are kept, and their inodes."""
    return {file.name: file.stat().st_ino for file in (fixture.workspace / "history").glob("pack-*.pack")}


def test_git_works_in_a_copy_as_in_a_clone(fixture: CheckoutFixture) -> None:
    fixture.push(a="1", sub__deep__b="2")
    fixture.clone.git("tag", "--annotate", "--message=x", "v1.0")
    fixture.clone.git("branch", "other")
    revision = fixture.push(a="2", sub__deep__b="2")
    fixture.clone.push("v1.0", "refs/heads/*:refs/heads/*")
    fixture.check_out(revision)
    copy = Copy(fixture)
    copy.check(fixture, revision)
    short = copy.git("rev-parse", "--short", "HEAD")
    assert copy.git("describe", "--tags", "--dirty") == f"v1.0-1-g{short}"
    assert copy.git("log", "--format=%s", "origin/other..HEAD") == "Change"
    assert copy.git("log", "-1", "--format=%an", "v1.0") == "Lea"


def test_each_next_revision_works_in_its_copy(fixture: CheckoutFixture) -> None:
    for number in range(3):
        revision = fixture.push(a=str(number), **{f"d{number}__f": "x"})
        fixture.check_out(revision)
        Copy(fixture).check(fixture, revision)


def test_a_script_can_copy_the_tree_over_an_older_copy(fixture: CheckoutFixture) -> None:
    """`cp -r` opens each file that is there for writing, which a user other than root may do if its mode says so."""
    for number in range(2):
        fixture.check_out(fixture.push(a=str(number)))
        files = [path for path in fixture.tree.rglob("*") if path.is_file() and "borrowed" not in path.parts]
        closed = [path for path in files if not path.stat().st_mode & 0o200]
        assert not closed


def test_a_history_that_was_rewritten_works_in_a_copy(fixture: CheckoutFixture) -> None:
    fixture.check_out(fixture.push(a="1"))
    fixture.clone.git("commit", "--quiet", "--amend", "--message", "Other")
    revision = fixture.push(a="3")
    git(fixture.clone.bare, "gc", "--quiet", "--prune=now")
    fixture.check_out(revision)
    Copy(fixture).check(fixture, revision)


def test_a_merge_works_in_a_copy(fixture: CheckoutFixture) -> None:
    fixture.push(a="1", sub__b="2")
    fixture.clone.git("checkout", "--quiet", "-b", "side")
    fixture.clone.write("sub/side", "3")
    fixture.clone.commit()
    fixture.clone.git("checkout", "--quiet", "main")
    fixture.clone.write("sub/main", "4")
    fixture.clone.commit()
    fixture.clone.git("merge", "--quiet", "--no-ff", "--no-edit", "side")
    fixture.clone.push()
    revision = fixture.clone.git("rev-parse", "HEAD").strip()
    fixture.check_out(revision)
    Copy(fixture).check(fixture, revision)


def test_an_annotated_tag_is_its_commit_in_a_copy(fixture: CheckoutFixture) -> None:
    commit = fixture.push(a="1")
    fixture.clone.git("tag", "--annotate", "--message=x", "v1.0")
    fixture.clone.push("v1.0")
    fixture.check_out(fixture.clone.git("rev-parse", "v1.0").strip())
    copy = Copy(fixture)
    copy.check(fixture, commit)
    assert copy.git("describe") == "v1.0"


def test_a_long_history_is_packed_once(fixture: CheckoutFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_BATCH", 6)
    for number in range(5):
        revision = fixture.push(a=str(number))
    fixture.check_out(revision)
    first = kept_packs(fixture)
    assert len(first) == 1
    revision = fixture.push(a="next")
    fixture.check_out(revision)
    assert kept_packs(fixture) == first
    Copy(fixture).check(fixture, revision)
    for number in range(5):
        revision = fixture.push(a=f"more {number}")
    fixture.check_out(revision)
    assert len(kept_packs(fixture)) == 2
    assert first.items() <= kept_packs(fixture).items()
    Copy(fixture).check(fixture, revision)


def test_directories_that_did_not_change_are_packed_once(fixture: CheckoutFixture) -> None:
    files = {f"d{number}__e__file": str(number) for number in range(history._BATCH // 2 + 1)}
    fixture.check_out(fixture.push(**files))
    kept = kept_packs(fixture)
    assert len(kept) == 1
    revision = fixture.push(**{**files, "d0__e__file": "new", "added__deep__file": "x"})
    fixture.check_out(revision)
    Copy(fixture).check(fixture, revision)
    packs = fixture.tree / ".git" / "objects" / "pack"
    new_packs = [pack for pack in packs.glob("*.idx") if pack.with_suffix(".pack").name not in kept]
    objects = [line for pack in new_packs for line in git(packs, "verify-pack", "-v", str(pack)).splitlines()]
    names = [words for line in objects if len(words := line.split()) > 3 and words[1] in ("commit", "tree", "blob")]
    assert sorted(words[1] for words in names) == [*2 * ["commit"], *8 * ["tree"]], (
        "the changed ones, and those of before"
    )


def test_many_packs_become_one(fixture: CheckoutFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_BATCH", 1)
    monkeypatch.setattr(history, "_FILES_MAX", 6)
    counts = []
    for number in range(6):
        revision = fixture.push(a=str(number))
        fixture.check_out(revision)
        counts.append(len(kept_packs(fixture)))
    assert max(counts) <= 4
    assert counts.count(1) == 2, "at first, and when there were too many"
    Copy(fixture).check(fixture, revision)


@pytest.mark.parametrize("damage", ["pack", "archive", "text", "directory", "commit"])
def test_a_damaged_history_is_packed_anew(
    fixture: CheckoutFixture, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(history, "_BATCH", 1)
    fixture.check_out(fixture.push(a="1"))
    kept = fixture.workspace / "history"
    if damage == "pack":
        for file in kept.glob("pack-*"):
            file.chmod(0o600)
            file.write_text("damage")
    elif damage == "text":
        (kept / "archive").write_bytes(b"\xff\npack x y z\n")
    elif damage == "commit":
        lines = (kept / "archive").read_text().splitlines()
        (kept / "archive").write_text("\n".join([lines[0], "no name of a commit", *lines[2:]]))
    elif damage == "archive":
        (kept / damage).write_text(f"\n{'1' * 40}\ntip {'1' * 40}\n")
    else:
        shutil.rmtree(kept)
        kept.write_text("no directory")
    revision = fixture.push(a="2")
    fixture.check_out(revision)
    Copy(fixture).check(fixture, revision)


def test_a_shallow_repository_has_the_history_that_it_has(fixture: CheckoutFixture, tmp_path: Path) -> None:
    for number in range(3):
        fixture.push(a=str(number))
    bare = fixture.clone.bare
    shutil.rmtree(bare)
    git(tmp_path, "clone", "--quiet", "--bare", "--depth=2", f"file://{fixture.clone.tree}", str(bare))
    revision = git(bare, "rev-parse", "main").strip()
    fixture.check_out(revision)
    assert fixture.git("rev-list", "--count", "HEAD").strip() == "2"
    assert fixture.git("show", "--stat", "--format=%s", "HEAD^").startswith("Change\n")
    assert Copy(fixture).git("rev-list", "--count", "HEAD") == "2"
    git(bare, "fetch", "--quiet", "--unshallow", str(fixture.clone.tree))
    fixture.check_out(revision)
    assert fixture.git("rev-list", "--count", "HEAD").strip() == "3"
    Copy(fixture).check(fixture, revision)


def test_a_repository_with_a_hole_in_its_history_is_checked_out_all_the_same(
    fixture: CheckoutFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    old = fixture.push(a="1")
    fixture.push(a="2")
    revision = fixture.push(a="3")
    (fixture.clone.bare / "objects" / old[:2] / old[2:]).unlink()
    fixture.check_out(revision)
    assert fixture.files() == {"a": "3"}
    assert "tinyci: git works in no container that this tree is copied into: " in capsys.readouterr().out


def test_a_repository_that_borrows_itself_lends_what_it_borrowed(fixture: CheckoutFixture, tmp_path: Path) -> None:
    fixture.push(a="1")
    lender = tmp_path / "lender.git"
    fixture.clone.bare.rename(lender)
    git(tmp_path, "clone", "--quiet", "--bare", "--shared", str(lender), str(fixture.clone.bare))
    (fixture.clone.bare / "objects" / "info" / "alternates").write_text("# relative\n../../lender.git/objects\n")
    revision = fixture.push(a="2")
    fixture.check_out(revision)
    assert fixture.files() == {"a": "2"}
    assert fixture.git("show", "HEAD^:a") == "1"


def test_settings_of_git_that_the_user_has_decide_on_no_format(
    fixture: CheckoutFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[init]\n\tdefaultRefFormat = reftable\n\tdefaultObjectFormat = sha256\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    fixture.push(a="1")
    fixture.clone.git("tag", "v1")
    fixture.clone.push("v1")
    fixture.check_out(fixture.clone.git("rev-parse", "HEAD").strip())
    assert fixture.git("tag").split() == ["v1"]


def test_the_same_revision_is_the_same_to_the_byte(fixture: CheckoutFixture) -> None:
    """Else no layer that a COPY makes would be found in podman's cache again."""
    fixture.push(**{f"d{number}__f": str(number) for number in range(20)})
    for number in range(20):
        fixture.clone.git("tag", "--annotate", "--message=x", f"v{number}")
    revision = fixture.push(a="1")
    fixture.clone.push("--tags")
    program = "import sys; from tinyci.stage import checkout\n"
    program += "checkout.check_out(*sys.argv[1:])"
    contents = []
    for seed in "123":
        command = (sys.executable, "-c", program, str(fixture.workspace), str(fixture.clone.bare), revision)
        environment = {**os.environ, "PYTHONPATH": str(TREE / "daemon"), "PYTHONHASHSEED": seed}
        subprocess.run(command, env=environment, check=True)
        files = (path for path in fixture.tree.rglob("*") if path.is_file() and not path.is_symlink())
        contents.append({str(path): path.read_bytes() for path in files if "borrowed" not in path.parts})
    assert contents[1] == contents[2]
    assert contents[0].keys() == contents[1].keys()


def test_what_a_script_clones_from_the_tree_is_whole(fixture: CheckoutFixture, tmp_path: Path) -> None:
    fixture.push(a="1")
    fixture.check_out(fixture.push(a="2"))
    git(tmp_path, "clone", "--quiet", str(fixture.tree), "again")
    assert git(tmp_path / "again", "show", "HEAD^:a") == "1"
    assert os.listdir(tmp_path / "again") != [".git"]
