"""The history of a work tree: packs of its own with all commits and tags, and the directories of the newest commit.

With them `git log`, `describe`, `show -s` and `status` work also where the bare repository is not, as in a container
that the tree was copied into. The contents of files are not in them: they may be large, and stay borrowed. Most of the
history and of its directories is packed once, and linked into each new `.git`.
"""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinyci.stage import git, gitdirectory
from tinyci.stage.git import GitError
from tinyci.stage.gitdirectory import Ref

_BATCH = 50
"""Objects that are worth a pack which is kept. Fewer are packed anew each time, which takes some milliseconds."""
_FILES_MAX = 60
"""Files of packs that are kept: with more than some tens of packs git takes longer for each object."""
_DIRECTORY = "040000"
"""The mode of a directory in another one (git-diff(1), "raw output format")."""


class _Archive(NamedTuple):
    """The part of the history that is kept: its packs, and the objects that lead to all that is in them."""

    boundary: str
    """The end of the history: that of a shallow repository may move."""
    packs: dict[str, list[int]]
    """By the name of a file: its size and its time. A build may have written to it, for it is the build's as well."""
    tips: frozenset[str]
    commit: str
    """The one of them whose directories are in the packs; empty if there is no pack."""


def add(directory: str, store: str, refs: Sequence[Ref], commit: str) -> None:
    """Add to the `.git` in `directory` all commits that a ref or `commit` leads to, and the directories of that and of
    its parents. Raises OSError.

    `store`: the directory of what is kept.
    """
    for is_last in (False, True):
        try:
            _add(directory, store, refs, commit)
            return
        except (GitError, NotADirectoryError) as error:
            _clear(store)  # damaged, or of another repository
            if is_last:  # the script still has what the bare repository has
                print(f"tinyci: git works in no container that this tree is copied into: {error}", flush=True)


def _add(directory: str, store: str, refs: Sequence[Ref], commit: str) -> None:
    packs = os.path.join(directory, "objects", "pack")
    archive = _read(store, _boundary(directory))
    _link(store, archive.packs, packs)
    run = ("git", "-C", os.path.dirname(directory))
    tips = {commit, *(ref.target for ref in refs if ref.name.startswith(("refs/heads/", "refs/tags/")))}
    revisions = "".join([*(f"{tip}\n" for tip in tips), *(f"^{tip}\n" for tip in archive.tips)])
    objects = set(git.run(*run, "rev-list", "--stdin", stdin=revisions).split())
    objects.update(ref.target for ref in refs if ref.tagged and ref.target in tips - archive.tips)
    objects.update(_directories(run, commit, archive.commit))
    if len(objects) >= _BATCH:
        _pack(run, objects, store)
        names = [name for name in os.listdir(store) if name.startswith("pack-")]
        files = {name: _stamp(os.path.join(store, name)) for name in names}
        _write(store, _Archive(archive.boundary, files, frozenset(tips), commit))
        _link(store, files, packs)
    elif objects:
        _pack(run, objects, packs)


def _directories(run: Sequence[str], commit: str, base: str) -> list[str]:
    """Return a commit, its parents and their directories, but those only that the commit `base`, if there is one, has
    not. Those of the parents as well: `git show -s` reads them."""
    depth = "tree:1" if base else "blob:none"
    listing = ("rev-list", "--objects", f"--filter={depth}", "--no-object-names", "--no-walk", commit, f"{commit}^@")
    objects = git.run(*run, *listing).split()
    if base:  # to compare two trees takes as long as their difference, and to list one as long as all of it
        # The second is compared with its parents, so that also theirs are there.
        pairs = f"{commit} {base}\n{commit}\n"
        changes = git.run(*run, "diff-tree", "--stdin", "-r", "-t", "-m", "--no-commit-id", "--no-abbrev", stdin=pairs)
        for change in changes.splitlines():
            old_mode, new_mode, old, new, _ = change.removeprefix(":").split(" ", 4)
            objects += [name for mode, name in ((old_mode, old), (new_mode, new)) if mode == _DIRECTORY]
    return objects


def _pack(run: Sequence[str], objects: Iterable[str], packs: str) -> None:
    # Without a search for deltas: those that the bare repository has found are taken over.
    pack = ("pack-objects", "--quiet", "--window=0", os.path.join(packs, "pack"))
    # In one order, so that the same history is the same file: podman finds what it has copied before.
    name = git.run(*run, *pack, stdin="".join(f"{name}\n" for name in sorted(objects))).strip()
    for file in os.listdir(packs):
        if file.startswith(f"pack-{name}."):
            # git lets nobody write to it; and then no script could copy the tree over an older copy (cp -r).
            os.chmod(os.path.join(packs, file), 0o644)


def _boundary(directory: str) -> str:
    """Return what tells a shallow history from a longer one of the same tips."""
    boundary = gitdirectory.shallow(directory)
    if not boundary:
        return ""
    import hashlib  # few repositories are shallow

    return hashlib.sha256(boundary).hexdigest()


def _read(store: str, boundary: str) -> _Archive:
    """Return what is kept. Keeps nothing that was changed, ends elsewhere, or is in too many pieces."""
    try:
        with open(os.path.join(store, "archive"), encoding="utf-8", errors="surrogateescape") as file:
            archive = _parse(file.read())
        stamps = {name: _stamp(os.path.join(store, name)) for name in archive.packs}
        is_whole = archive.packs == stamps and archive.commit in archive.tips
        if is_whole and archive.boundary == boundary and len(stamps) <= _FILES_MAX:
            return archive
    except (FileNotFoundError, ValueError):
        pass
    _clear(store)
    os.makedirs(store)
    return _Archive(boundary, {}, frozenset(), "")


# As lines: every build reads them, and would wait for the import of json as long as for a git.
def _parse(text: str) -> _Archive:
    """Return the archive of a text that _write() wrote. Raises ValueError for many others."""
    boundary, commit, *lines = text.splitlines()
    words = [line.split(" ") for line in lines]
    packs = {each[1]: [int(each[2]), int(each[3])] for each in words if len(each) == 4}
    return _Archive(boundary, packs, frozenset(each[1] for each in words if len(each) == 2), commit)


def _write(store: str, archive: _Archive) -> None:
    packs = [f"pack {name} {size} {time}" for name, (size, time) in archive.packs.items()]
    lines = [archive.boundary, archive.commit, *packs, *(f"tip {tip}" for tip in sorted(archive.tips))]
    new = os.path.join(store, "archive.new")
    with open(new, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(f"{line}\n" for line in lines))
    os.rename(new, os.path.join(store, "archive"))


def _stamp(file: str) -> list[int]:
    status = os.stat(file)
    return [status.st_size, status.st_mtime_ns]


def _link(store: str, names: Iterable[str], packs: str) -> None:
    for name in names:
        target = os.path.join(packs, name)
        if not os.path.lexists(target):
            os.link(os.path.join(store, name), target)


def _clear(store: str) -> None:
    if os.path.isdir(store) and not os.path.islink(store):
        import shutil

        shutil.rmtree(store)
    elif os.path.lexists(store):
        os.unlink(store)
