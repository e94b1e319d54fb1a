"""A checkout that is not possible is refused, with the reason in a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from gitrepos import Clone, git
from servers import TREE
from tinyci.stage import checkout
from tinyci.stage.status import StageError


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone whose `main` is pushed."""
    clone = Clone(tmp_path)
    clone.write("a", "1")
    clone.commit()
    clone.push()
    return clone


def refusal(clone: Clone, revision: str) -> StageError:
    with pytest.raises(StageError) as info:
        checkout.check_out(str(clone.bare.parent / "cache"), str(clone.bare), revision)
    return info.value


def head(clone: Clone) -> str:
    return clone.git("rev-parse", "HEAD").strip()


def test_a_revision_that_a_forced_push_took_back_is_rejected(clone: Clone) -> None:
    old = head(clone)
    clone.git("commit", "--quiet", "--amend", "--message", "Other")
    clone.push("+main")
    git(clone.bare, "cat-file", "-e", old)  # it still lies about
    error = refusal(clone, old)
    assert error.verdict == "rejected"
    assert str(error) == (
        f"revision {old} is not in {clone.bare}: no ref leads to it, a later push may have taken it back"
    )


@pytest.mark.parametrize("length", [40, 64])
def test_a_revision_that_never_was_is_rejected(clone: Clone, length: int) -> None:
    error = refusal(clone, "1" * length)
    assert error.verdict == "rejected"
    assert "no ref leads to it" in str(error)


def test_a_revision_of_a_deleted_branch_is_rejected(clone: Clone) -> None:
    clone.write("a", "2")
    revision = clone.commit()
    clone.push("main:topic")
    clone.push(":topic")
    assert refusal(clone, revision).verdict == "rejected"


@pytest.mark.parametrize("name", ["HEAD^{tree}", "HEAD:a"])
def test_an_object_that_is_no_commit_is_rejected(clone: Clone, name: str) -> None:
    assert refusal(clone, clone.git("rev-parse", name).strip()).verdict == "rejected"


def test_an_older_revision_of_a_branch_is_not_refused(clone: Clone) -> None:
    old = head(clone)
    clone.write("a", "2")
    clone.commit()
    clone.push()
    checkout.check_out(str(clone.bare.parent / "cache"), str(clone.bare), old)


def test_a_repository_that_is_not_there_is_refused(clone: Clone, tmp_path: Path) -> None:
    clone.bare.rename(tmp_path / "elsewhere")
    error = refusal(clone, head(clone))
    assert str(error) == f"{clone.bare} is not a bare git repository: expected HEAD, config and objects in it"
    assert error.verdict == "failed"  # it can be mended, and the job run again


def test_a_directory_that_is_no_repository_is_refused(clone: Clone, tmp_path: Path) -> None:
    clone.bare.rename(tmp_path / "elsewhere")
    clone.bare.mkdir()
    assert "is not a bare git repository" in str(refusal(clone, head(clone)))


def test_a_work_tree_is_no_bare_repository(clone: Clone) -> None:
    clone.bare = clone.tree
    assert "is not a bare git repository" in str(refusal(clone, head(clone)))


def test_a_file_is_no_repository(clone: Clone, tmp_path: Path) -> None:
    clone.bare = tmp_path / "file"
    clone.bare.write_text("x")
    error = refusal(clone, head(clone))
    assert str(clone.bare) in str(error)


@pytest.mark.parametrize("part", ["", "HEAD", "config", "objects"])
def test_a_repository_that_cannot_be_read_is_refused_with_what_mends_it(clone: Clone, part: str) -> None:
    """As another user than root, whom permissions do not stop."""
    revision = head(clone)
    (clone.bare / part).chmod(0)
    program = (
        "import sys; from tinyci.stage import checkout, status\n"
        "try: checkout.check_out(sys.argv[1], sys.argv[2], sys.argv[3])\n"
        "except status.StageError as error: print(error.verdict, error)"
    )
    capabilities = "-dac_override,-dac_read_search"
    process = subprocess.run(
        [
            *("setpriv", f"--inh-caps={capabilities}", f"--bounding-set={capabilities}", "--", sys.executable),
            *("-c", program, str(clone.bare.parent / "cache"), str(clone.bare), revision),
        ],
        env={"PYTHONPATH": str(TREE / "daemon"), "PATH": "/usr/bin:/bin", "USER": "web"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.startswith(f"failed {clone.bare}"), process
    assert "cannot be read by web: Permission denied" in process.stdout
    assert process.stdout.endswith(f"; as root: setfacl -R -m u:web:rX,d:u:web:rX {clone.bare}\n")


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("../nowhere.git", "fatal: repository '{beside}/nowhere.git' does not exist"),
        ("git@nowhere.invalid:lib.git", "ssh: Could not resolve hostname nowhere.invalid: Name or service not known"),
    ],
)
def test_a_submodule_that_cannot_be_fetched_is_told(clone: Clone, url: str, cause: str) -> None:
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    clone.write(".gitmodules", f'[submodule "lib"]\n\tpath = lib\n\turl = {url}\n')
    clone.git("add", ".gitmodules")
    clone.git("commit", "--quiet", "--message", "With a submodule")
    clone.push()
    sentence = str(refusal(clone, head(clone)))
    assert sentence.startswith(f"the submodules lib cannot be checked out: {cause.format(beside=clone.bare.parent)}; ")


@pytest.mark.parametrize("others", ["", '[submodule "other"]\n\tpath = other\n\turl = ../other.git\n'])
def test_a_repository_that_was_committed_by_mistake_is_told_how_to_take_it_out(clone: Clone, others: str) -> None:
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib/theirs")
    if others:
        clone.write(".gitmodules", others)
        clone.git("add", ".gitmodules")
    clone.git("commit", "--quiet", "--message", "With a repository in it")
    clone.push()
    sentence = str(refusal(clone, head(clone)))
    assert sentence.startswith("lib/theirs is a git repository of its own, whose files are not in this one, ")
    assert "'git rm --cached lib/theirs'" in sentence


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 1182099\n"


def test_a_pointer_of_git_lfs_is_refused_by_name(clone: Clone) -> None:
    clone.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    clone.write("www/big.bin", POINTER)
    clone.write("www/two.bin", POINTER)
    clone.write("www/real.bin", "content\n")
    clone.commit()
    clone.push()
    sentence = str(refusal(clone, head(clone)))
    assert sentence.startswith("www/big.bin is a pointer of Git LFS, one of 2, and the content is not here: ")


def test_a_pointer_is_refused_by_name_also_where_the_user_has_git_lfs(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git lfs install` writes such settings, and the server has none of the content."""
    (tmp_path / ".gitconfig").write_text('[filter "lfs"]\n\tprocess = false\n\tsmudge = false\n\trequired = true\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    clone.write(".gitattributes", "*.bin filter=lfs\n")
    clone.write("big.bin", POINTER)
    clone.commit()
    clone.push()
    assert str(refusal(clone, head(clone))).startswith("big.bin is a pointer of Git LFS, and the content is not here: ")


@pytest.mark.parametrize(
    "files", [{".lfsconfig": "[lfs]\nurl = https://lfs.example.org\n"}, {".gitattributes": "*.x text\n"}]
)
def test_a_pointer_that_a_script_can_follow_and_a_text_like_one_are_files(clone: Clone, files: dict[str, str]) -> None:
    for name, text in {".gitattributes": "*.bin filter=lfs\n", "big.bin": POINTER, **files}.items():
        clone.write(name, text)
    clone.commit()
    clone.push()
    checkout.check_out(str(clone.bare.parent / "cache"), str(clone.bare), head(clone))


def test_a_file_that_is_named_like_a_submodule_is_none(clone: Clone) -> None:
    clone.write("commit", "x")
    clone.commit("160000 commit")
    clone.push()
    checkout.check_out(str(clone.bare.parent / "cache"), str(clone.bare), head(clone))


def test_a_revision_with_a_missing_file_is_refused(clone: Clone) -> None:
    revision = head(clone)
    blob = clone.git("rev-parse", "HEAD:a").strip()
    (clone.bare / "objects" / blob[:2] / blob[2:]).unlink()
    error = refusal(clone, revision)
    assert str(error).startswith(f"revision {revision} cannot be checked out: ")
    assert error.verdict == "failed"
