"""A checkout: a work tree of exactly one revision of a bare repository, kept from job to job.

It borrows the bare repository's objects (objects/info/alternates, gitrepository-layout(5)) instead of copying them,
so that a job costs as much as its change. Of git's own files only the index is kept, out of the tree, as it was
before the build: git settings that a build makes in its tree do not reach the next one.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tinyci.model.stagecontract import Verdict
from tinyci.stage.status import StageError


def check_out(workspace: Path, repository: str, revision: str) -> Path:
    """Make the work tree in `workspace` exactly that revision, and return its path. Raises StageError, or OSError for
    the workspace. Its HEAD is the revision, or the commit of an annotated tag.

    Removes whatever earlier builds left behind in it, ignored files included.
    """
    _check_readable(Path(repository))
    refs = _refs(repository)
    _check_reachable(repository, revision, refs)
    tree, index = workspace / "tree", workspace / "index"
    try:
        return _update(tree, index, repository, revision, refs)
    except (_GitError, OSError):
        # A build may have damaged the tree, or git's garbage collection removed objects of it: once from nothing.
        index.unlink(missing_ok=True)
        _remove(tree)
    try:
        return _update(tree, index, repository, revision, refs)
    except _GitError as error:
        raise StageError(f"revision {revision} cannot be checked out: {error}") from None


def tip(repository: str, ref: str) -> str:
    """Return the object that the ref of that full name is at. Raises StageError."""
    _check_readable(Path(repository))
    bare = ("git", "-c", f"safe.directory={repository}", f"--git-dir={repository}")
    try:
        refs = _run(*bare, "for-each-ref", "--format=%(refname) %(objectname)", ref)
    except _GitError as error:
        raise StageError(f"git cannot read {repository}: {error}") from None
    for line in refs.splitlines():  # the pattern also matches refs below it
        name, _, revision = line.rpartition(" ")
        if name == ref:
            return revision
    raise StageError(f"there is no {ref} in {repository}: push it, or name another ref", Verdict.REJECTED)


class _GitError(Exception):
    """An error of git: its last line."""

    cause = ""
    """The first line that says what is wrong."""


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
            f"{repository} cannot be read by {user}: {error.strerror} ({error.filename}); "
            "give that user's group read access, as the role app does"
        ) from None
    if not head:
        raise StageError(f"{repository}/HEAD is empty")


class _Ref(NamedTuple):
    """A ref of the repository."""

    name: str
    target: str
    """The object that it is at: full name."""
    tagged: str
    """The object that its annotated tag is of; empty for any other object."""


def _refs(repository: str) -> list[_Ref]:
    """Return all refs of a repository. Raises StageError."""
    command = ("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
    try:
        output = _run("git", "-c", f"safe.directory={repository}", f"--git-dir={repository}", *command)
    except _GitError as error:
        raise StageError(f"git cannot read {repository}: {error}") from None
    return [_Ref(*line.split(" ")) for line in output.splitlines()]


def _check_reachable(repository: str, revision: str, refs: Sequence[_Ref]) -> None:
    """Raise StageError unless a ref leads to the revision. After a forced push the old objects stay for a while."""
    if any(revision in (ref.target, ref.tagged) for ref in refs):
        return
    bare = ("git", "-c", f"safe.directory={repository}", f"--git-dir={repository}")
    try:
        if _run(*bare, "for-each-ref", "--count=1", "--contains", revision):
            return
    except _GitError as error:
        if "no such commit" not in str(error) and "malformed object name" not in str(error):
            raise StageError(f"git cannot read {repository}: {error}") from None
    raise StageError(
        f"revision {revision} is not in {repository}: no ref leads to it, a later push may have taken it back",
        Verdict.REJECTED,
    )


def _update(tree: Path, index: Path, repository: str, revision: str, refs: Sequence[_Ref]) -> Path:
    if tree.is_symlink():
        raise _GitError("the tree is a link")
    if (tree / ".git" / "modules").exists():  # git would take the trees of submodules for broken repositories
        _remove(tree)
    _remove(tree / ".git")
    tree.mkdir(parents=True, exist_ok=True)
    objects = "sha256" if len(revision) == 64 else "sha1"
    _run("git", "init", "--quiet", "--template=", f"--object-format={objects}", str(tree))
    info = tree / ".git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(f"{repository}/objects\n", encoding="utf-8")
    (tree / ".git" / "packed-refs").write_bytes(_packed_refs(refs))
    if index.exists():
        # With its time, by which git knows what may have changed since (racy-git in git's technical documentation).
        shutil.copy2(index, tree / ".git" / "index")
    git = ("git", "-c", "core.hooksPath=/dev/null", "-C", str(tree))
    commit = _run(*git, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    entries = _run(*git, "ls-tree", "-r", "-z", "--format=%(objecttype) %(path)", commit).split("\0")[:-1]
    submodules = [entry.removeprefix("commit ") for entry in entries if entry.startswith("commit ")]
    _run(*git, "update-ref", "--no-deref", "HEAD", commit)
    _run(*git, "read-tree", "--reset", "-u", commit)
    _run(*git, "clean", "-ffdxq")
    if submodules:
        _check_out_submodules(git, tree, repository, submodules)
    if any(entry.endswith((" .gitattributes", "/.gitattributes")) for entry in entries):
        _check_lfs(git, tree)
    new = index.with_suffix(".new")
    shutil.copy2(tree / ".git" / "index", new)
    new.rename(index)
    return tree


def _check_out_submodules(git: Sequence[str], tree: Path, repository: str, paths: Sequence[str]) -> None:
    """Check out the submodules of the tree, and theirs, as the user: with the user's own keys and settings of git.
    Raises StageError."""
    # A relative URL is relative to this one (gitmodules(5)).
    _run(*git, "config", "remote.origin.url", repository)
    settings = tree / ".git" / "tinyci.config"
    # Repositories beside ours are not the user's own, and what git starts to read them hears of no option of ours.
    settings.write_text(
        "[include]\n\tpath = ~/.config/git/config\n[include]\n\tpath = ~/.gitconfig\n"
        '[safe]\n\tdirectory = *\n[protocol "file"]\n\tallow = always\n',
        encoding="ascii",
    )
    try:
        _run(
            *git,
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--",
            *paths,
            GIT_CONFIG_GLOBAL=str(settings),
            GIT_SSH_COMMAND="ssh -o BatchMode=yes",
        )
    except _GitError as error:
        user = os.environ.get("USER", str(os.geteuid()))
        raise StageError(
            f"the submodules {', '.join(paths)[:200]} cannot be checked out: {error.cause}; a relative URL in "
            f".gitmodules leads beside {repository}, and {user} has to reach any other without a password"
        ) from None


def _check_lfs(git: Sequence[str], tree: Path) -> None:
    """Raise StageError for pointers of Git LFS (git-lfs-pointer(1)) whose content is nowhere that a script could fetch
    it from: the build would take them for the content."""
    if (tree / ".lfsconfig").exists():  # the repository says where
        return
    paths = _run(*git, "ls-files", "-z", "--", ":(attr:filter=lfs)").split("\0")[:-1]
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


def _packed_refs(refs: Sequence[_Ref]) -> bytes:
    """Return the refs as a clone has them: tags by their names, branches as those of `origin` (git-pack-refs(1))."""
    lines = []
    for ref in refs:
        if ref.name.startswith("refs/tags/"):
            lines.append(f"{ref.target} {ref.name}\n")
        elif ref.name.startswith("refs/heads/"):
            lines.append(f"{ref.target} refs/remotes/origin/{ref.name.removeprefix('refs/heads/')}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def head(tree: Path) -> str:
    """Return the commit that is checked out."""
    return (tree / ".git" / "HEAD").read_text(encoding="ascii").strip()


def _run(*command: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **variables}
    process = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if process.returncode:
        lines = process.stderr.decode("utf-8", "replace").strip().splitlines()
        error = _GitError(lines[-1] if lines else f"{command[0]} ended with status {process.returncode}")
        error.cause = next((line for line in lines if line.startswith(("fatal: ", "error: "))), str(error))
        raise error
    return process.stdout.decode("utf-8", "surrogateescape")


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
