"""The history of a work tree: packs of its own with all commits and tags, and the directories of the newest commit.

With them `git log`, `describe`, `show -s` and `status` work also where the bare repository is not, as in a container
that the tree was copied into. The contents of files are not in them: they may be large, and stay borrowed. Most of the
history is packed once, and linked into each new `.git`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tinyci.stage import git
from tinyci.stage.git import GitError
from tinyci.stage.gitdirectory import Ref

_BATCH = 500
"""Commits that are worth a pack which is kept. Fewer are packed anew each time, which takes some milliseconds."""


class _Archive(NamedTuple):
    """The part of the history that is kept: its packs, and the objects that lead to all that is in them."""

    boundary: str
    """The end of the history: that of a shallow repository may move."""
    packs: dict[str, list[int]]
    """By the name of a file: its size and its time. A build may have written to it, for it is the build's as well."""
    tips: frozenset[str]


def add(directory: Path, store: Path, refs: Sequence[Ref], commit: str) -> None:
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


def _add(directory: Path, store: Path, refs: Sequence[Ref], commit: str) -> None:
    packs = directory / "objects" / "pack"
    archive = _read(store, _boundary(directory))
    _link(store, archive.packs, packs)
    run = ("git", "-C", str(directory.parent))
    tips = {commit, *(ref.target for ref in refs if ref.name.startswith(("refs/heads/", "refs/tags/")))}
    revisions = "".join([*(f"{tip}\n" for tip in tips), *(f"^{tip}\n" for tip in archive.tips)])
    objects = git.run(*run, "rev-list", "--stdin", stdin=revisions).split()
    objects += [ref.target for ref in refs if ref.tagged and ref.target in tips - archive.tips]
    if len(objects) >= _BATCH:
        _pack(run, objects, store)
        files = {file.name: _stamp(file) for file in store.glob("pack-*")}
        _write(store, _Archive(archive.boundary, files, frozenset(tips)))
        _link(store, files, packs)
        objects = []
    # Also those of the parents: `git show -s` reads them.
    trees = ("rev-list", "--objects", "--filter=blob:none", "--no-object-names", "--no-walk", commit, f"{commit}^@")
    _pack(run, {*objects, *git.run(*run, *trees).split()}, packs)


def _pack(run: Sequence[str], objects: Iterable[str], packs: Path) -> None:
    # Without a search for deltas: those that the bare repository has found are taken over.
    pack = ("pack-objects", "--quiet", "--window=0", str(packs / "pack"))
    # In one order, so that the same history is the same file: podman finds what it has copied before.
    git.run(*run, *pack, stdin="".join(f"{name}\n" for name in sorted(objects)))


def _boundary(directory: Path) -> str:
    """Return what tells a shallow history from a longer one of the same tips."""
    try:
        return hashlib.sha256((directory / "shallow").read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def _read(store: Path, boundary: str) -> _Archive:
    """Return what is kept. Keeps nothing that was changed, or ends elsewhere."""
    try:
        archive = _Archive(**json.loads((store / "archive.json").read_bytes()))
        if archive.boundary == boundary and all(_stamp(store / name) == stamp for name, stamp in archive.packs.items()):
            return archive._replace(tips=frozenset(archive.tips))
    except (FileNotFoundError, ValueError, TypeError):
        pass
    _clear(store)
    store.mkdir(parents=True)
    return _Archive(boundary, {}, frozenset())


def _write(store: Path, archive: _Archive) -> None:
    new = store / "archive.new"
    new.write_text(json.dumps({**archive._asdict(), "tips": sorted(archive.tips)}), encoding="utf-8")
    new.rename(store / "archive.json")


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _link(store: Path, names: Iterable[str], packs: Path) -> None:
    for name in names:
        with suppress(FileExistsError):
            os.link(store / name, packs / name)


def _clear(store: Path) -> None:
    if store.is_dir():
        shutil.rmtree(store)
    else:
        store.unlink(missing_ok=True)
