"""A checkout: a work tree of exactly one revision of a bare repository, kept from job to job.

It borrows the bare repository's objects instead of copying them, so that a job costs as much as its change. Of git's
own files the index and the history are kept, out of the tree, as they were before the build: git settings that a build
makes in its tree do not reach the next one.
"""

import os
from collections.abc import Sequence

from tinyci.model.stagecontract import Verdict
from tinyci.stage import git, gitdirectory, history
from tinyci.stage.git import Git, GitError
from tinyci.stage.gitdirectory import Ref
from tinyci.stage.process import Process
from tinyci.stage.status import StageError

_WITHOUT_LFS = ("-c", "filter.lfs.process=", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false")
"""Where the user has git-lfs, it would ask the bare repository for what that has not got, and fail for that."""


def check_out(workspace: str, repository: str, revision: str) -> str:
    """Make the work tree in `workspace` exactly that revision, and return its path. Raises StageError, or OSError for
    the workspace. Its HEAD is the revision, or the commit of an annotated tag.

    Removes whatever earlier builds left behind in it, ignored files included.
    """
    _check_readable(repository)
    refs = _refs(repository)
    _check_reachable(repository, revision, refs)
    try:
        return _update(workspace, repository, revision, refs)
    except (GitError, OSError):
        # A build may have damaged the tree, or git's garbage collection removed objects of it: once from nothing.
        for part in ("index", "history", "tree"):
            _remove(os.path.join(workspace, part))
    try:
        return _update(workspace, repository, revision, refs)
    except GitError as error:
        raise StageError(f"revision {revision} cannot be checked out: {error}") from None


def tip(repository: str, ref: str) -> str:
    """Return the object that the ref of that full name is at. Raises StageError."""
    _check_readable(repository)
    try:
        refs = git.bare(repository, "for-each-ref", "--format=%(refname) %(objectname)", ref)
    except GitError as error:
        raise StageError(f"git cannot read {repository}: {error}") from None
    for line in refs.splitlines():  # the pattern also matches refs below it
        name, _, revision = line.rpartition(" ")
        if name == ref:
            return revision
    raise StageError(f"there is no {ref} in {repository}: push it, or name another ref", Verdict.REJECTED)


def _check_readable(repository: str) -> None:
    try:
        head = _content(os.path.join(repository, "HEAD"))
        os.scandir(os.path.join(repository, "objects")).close()
        _content(os.path.join(repository, "config"))
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


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _refs(repository: str) -> list[Ref]:
    """Return all refs of a repository. Raises StageError."""
    parts = ("refname", "objectname", "*objectname", "objecttype", "*objecttype")
    command = ("for-each-ref", f"--format={' '.join(f'%({part})' for part in parts)}")
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


def _update(workspace: str, repository: str, revision: str, refs: Sequence[Ref]) -> str:
    tree, index = os.path.join(workspace, "tree"), os.path.join(workspace, "index")
    directory = os.path.join(tree, ".git")
    if os.path.islink(tree):
        raise GitError([], "the tree is a link")
    if os.path.exists(os.path.join(directory, "modules")):  # git takes trees of submodules for broken repositories
        _remove(tree)
    _remove(directory)
    os.makedirs(tree, exist_ok=True)
    gitdirectory.make(directory, repository, refs, revision)
    if os.path.exists(index):
        # With its time, by which git knows what may have changed since (racy-git in git's technical documentation).
        _copy(index, os.path.join(directory, "index"))
    run = ("git", "-c", "core.hooksPath=/dev/null", "-C", tree)
    commit = next((commit for ref in refs if (commit := ref.commit_of(revision))), "")
    commit = commit or git.run(*run, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    gitdirectory.set_head(directory, commit)
    # `read-tree --reset -u` does the same, but looks at the files in one thread, and then reads each directory again.
    switch = ("-c", "core.logAllRefUpdates=false", "checkout", "--quiet", "--force", "--detach", commit, "--")
    switching = Git(*run, *_WITHOUT_LFS, *switch)
    try:
        history.add(directory, os.path.join(workspace, "history"), refs, commit)
    finally:
        switching.output()
    git.run(*run, "clean", "-ffdxq")
    entries = _special_entries(run, _content(os.path.join(directory, "index")), commit)
    if paths := [entry.removeprefix("commit ") for entry in entries if entry.startswith("commit ")]:
        from tinyci.stage import submodules  # few repositories have any

        submodules.check_out(run, tree, repository, paths)
    if any(entry.endswith((" .gitattributes", "/.gitattributes")) for entry in entries):
        _check_lfs(run, tree)
    new = f"{index}.new"
    _copy(os.path.join(directory, "index"), new)
    os.rename(new, index)
    return tree


def _special_entries(run: Sequence[str], index: bytes, commit: str) -> list[str]:
    """Return the entries of a commit, as `TYPE PATH`, if there may be submodules or attributes of files among them.

    Of a large tree git takes long to list all; bytes of the index (gitformat-index(5)) tell of most that it has none.
    """
    is_whole = index[:8] in (b"DIRC\0\0\0\2", b"DIRC\0\0\0\3") and b"link" not in index  # nor split, nor compressed
    if is_whole and b"\0\0\xe0\0" not in index and b".gitattributes" not in index:
        return []
    return git.run(*run, "ls-tree", "-r", "-z", "--format=%(objecttype) %(path)", commit).split("\0")[:-1]


def _copy(source: str, target: str) -> None:
    """Copy a file with its time and its mode."""
    with open(source, "rb") as original, open(target, "wb") as copy:
        status = os.stat(original.fileno())
        while os.sendfile(copy.fileno(), original.fileno(), None, status.st_size):  # up to its end
            pass
        os.fchmod(copy.fileno(), status.st_mode & 0o777)
        os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def _check_lfs(run: Sequence[str], tree: str) -> None:
    """Raise StageError for pointers of Git LFS (git-lfs-pointer(1)) whose content is nowhere that a script could fetch
    it from: the build would take them for the content."""
    if os.path.exists(os.path.join(tree, ".lfsconfig")):  # the repository says where
        return
    paths = git.run(*run, "ls-files", "-z", "--", ":(attr:filter=lfs)").split("\0")[:-1]
    pointers = [path for path in paths if _is_pointer(os.path.join(tree, path))]
    if pointers:
        more = f", one of {len(pointers)}" if len(pointers) > 1 else ""
        raise StageError(
            f"{pointers[0]} is a pointer of Git LFS{more}, and the content is not here: tinyci takes none by a push; "
            "name the server that has it in .lfsconfig and run 'git lfs pull' in the script, or commit the content "
            "(git lfs migrate export)"
        )


def _is_pointer(file: str) -> bool:
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as content:
            return content.read(64).startswith(b"version https://git-lfs.github.com/spec/v1\n")
    except OSError:  # a link
        return False


def head(tree: str) -> str:
    """Return the commit that is checked out."""
    return gitdirectory.head(os.path.join(tree, ".git"))


def _remove(path: str) -> None:
    """Remove a file, a link or a directory. Files that a rootless build left with other (sub)uids need podman's user
    namespace."""
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    elif os.path.exists(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
        if os.path.exists(path) and os.geteuid() and shutil.which("podman"):
            Process(("podman", "unshare", "rm", "-rf", "--", path), os.environ).wait()
        if os.path.exists(path):
            raise StageError(f"{path} cannot be removed; remove it by hand")
