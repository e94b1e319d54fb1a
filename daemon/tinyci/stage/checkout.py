"""A checkout: a work tree of exactly one revision of a bare repository, kept from job to job.

It borrows the bare repository's objects instead of copying them, so that a job costs as much as its change. Of git's
own files the index and the history are kept, out of the tree, as they were before the build: git settings that a build
makes in its tree do not reach the next one.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tinyci.model.stagecontract import Verdict
from tinyci.stage import git, gitdirectory, history, submodules
from tinyci.stage.git import GitError
from tinyci.stage.gitdirectory import Ref
from tinyci.stage.status import StageError

_WITHOUT_LFS = ("-c", "filter.lfs.process=", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false")
"""Where the user has git-lfs, it would ask the bare repository for what that has not got, and fail for that."""


def check_out(workspace: Path, repository: str, revision: str) -> Path:
    """Make the work tree in `workspace` exactly that revision, and return its path. Raises StageError, or OSError for
    the workspace. Its HEAD is the revision, or the commit of an annotated tag.

    Removes whatever earlier builds left behind in it, ignored files included.
    """
    _check_readable(Path(repository))
    refs = _refs(repository)
    _check_reachable(repository, revision, refs)
    try:
        return _update(workspace, repository, revision, refs)
    except (GitError, OSError):
        # A build may have damaged the tree, or git's garbage collection removed objects of it: once from nothing.
        for part in ("index", "history", "tree"):
            _remove(workspace / part)
    try:
        return _update(workspace, repository, revision, refs)
    except GitError as error:
        raise StageError(f"revision {revision} cannot be checked out: {error}") from None


def tip(repository: str, ref: str) -> str:
    """Return the object that the ref of that full name is at. Raises StageError."""
    _check_readable(Path(repository))
    try:
        refs = git.bare(repository, "for-each-ref", "--format=%(refname) %(objectname)", ref)
    except GitError as error:
        raise StageError(f"git cannot read {repository}: {error}") from None
    for line in refs.splitlines():  # the pattern also matches refs below it
        name, _, revision = line.rpartition(" ")
        if name == ref:
            return revision
    raise StageError(f"there is no {ref} in {repository}: push it, or name another ref", Verdict.REJECTED)


def _check_readable(repository: Path) -> None:
    try:
        head = (repository / "HEAD").read_text(encoding="utf-8", errors="replace")
        next(os.scandir(repository / "objects"), None)
        (repository / "config").read_bytes()
    except FileNotFoundError:
        raise StageError(
            f"{repository} is not a bare git repository: expected HEAD, config and objects in it"
        ) from None
    except OSError as error:
        user = os.environ.get("USER", str(os.geteuid()))
        raise StageError(
            f"{repository} cannot be read by {user}: {error.strerror} ({error.filename}); as root: "
            f"setfacl -R -m u:{user}:rX,d:u:{user}:rX {repository}"
        ) from None
    if not head:
        raise StageError(f"{repository}/HEAD is empty")


def _refs(repository: str) -> list[Ref]:
    """Return all refs of a repository. Raises StageError."""
    command = ("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
    try:
        output = git.bare(repository, *command)
    except GitError as error:
        raise StageError(f"git cannot read {repository}: {error}") from None
    return [Ref(*line.split(" ")) for line in output.splitlines()]


def _check_reachable(repository: str, revision: str, refs: Sequence[Ref]) -> None:
    """Raise StageError unless a ref leads to the revision. After a forced push the old objects stay for a while."""
    if any(revision in (ref.target, ref.tagged) for ref in refs):
        return
    try:
        if git.bare(repository, "for-each-ref", "--count=1", "--contains", revision):
            return
    except GitError as error:
        if "no such commit" not in str(error) and "malformed object name" not in str(error):
            raise StageError(f"git cannot read {repository}: {error}") from None
    raise StageError(
        f"revision {revision} is not in {repository}: no ref leads to it, a later push may have taken it back",
        Verdict.REJECTED,
    )


def _update(workspace: Path, repository: str, revision: str, refs: Sequence[Ref]) -> Path:
    tree, index = workspace / "tree", workspace / "index"
    directory = tree / ".git"
    if tree.is_symlink():
        raise GitError([], "the tree is a link")
    if (directory / "modules").exists():  # git would take the trees of submodules for broken repositories
        _remove(tree)
    _remove(directory)
    tree.mkdir(parents=True, exist_ok=True)
    gitdirectory.make(directory, repository, refs, revision)
    if index.exists():
        # With its time, by which git knows what may have changed since (racy-git in git's technical documentation).
        shutil.copy2(index, directory / "index")
    run = ("git", "-c", "core.hooksPath=/dev/null", "-C", str(tree))
    commit = git.run(*run, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    gitdirectory.set_head(directory, commit)
    entries = git.run(*run, "ls-tree", "-r", "-z", "--format=%(objecttype) %(path)", commit).split("\0")[:-1]
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(history.add, directory, workspace / "history", refs, commit)
        git.run(*run, *_WITHOUT_LFS, "read-tree", "--reset", "-u", commit)
        git.run(*run, "clean", "-ffdxq")
        future.result()
    if paths := [entry.removeprefix("commit ") for entry in entries if entry.startswith("commit ")]:
        submodules.check_out(run, tree, repository, paths)
    if any(entry.endswith((" .gitattributes", "/.gitattributes")) for entry in entries):
        _check_lfs(run, tree)
    new = index.with_suffix(".new")
    shutil.copy2(directory / "index", new)
    new.rename(index)
    return tree


def _check_lfs(run: Sequence[str], tree: Path) -> None:
    """Raise StageError for pointers of Git LFS (git-lfs-pointer(1)) whose content is nowhere that a script could fetch
    it from: the build would take them for the content."""
    if (tree / ".lfsconfig").exists():  # the repository says where
        return
    paths = git.run(*run, "ls-files", "-z", "--", ":(attr:filter=lfs)").split("\0")[:-1]
    pointers = [path for path in paths if _is_pointer(tree / path)]
    if pointers:
        more = f", one of {len(pointers)}" if len(pointers) > 1 else ""
        raise StageError(
            f"{pointers[0]} is a pointer of Git LFS{more}, and the content is not here: tinyci takes none by a push; "
            "name the server that has it in .lfsconfig and run 'git lfs pull' in the script, or commit the content "
            "(git lfs migrate export)"
        )


def _is_pointer(file: Path) -> bool:
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as content:
            return content.read(64).startswith(b"version https://git-lfs.github.com/spec/v1\n")
    except OSError:  # a link
        return False


def head(tree: Path) -> str:
    """Return the commit that is checked out."""
    return gitdirectory.head(tree / ".git")


def _remove(path: Path) -> None:
    """Remove a file, a link or a directory. Files that a rootless build left with other (sub)uids need podman's user
    namespace."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists() and os.geteuid() and shutil.which("podman"):
            subprocess.run(("podman", "unshare", "rm", "-rf", "--", str(path)), check=False, capture_output=True)
        if path.exists():
            raise StageError(f"{path} cannot be removed; remove it by hand")
