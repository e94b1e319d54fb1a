"""The `.git` of a work tree: a repository that borrows the objects of a bare one (gitrepository-layout(5)).

The directory that it borrows from is its own, and full of links into the bare repository. So it is there also where the
bare repository is not, as in a container that the tree was copied into, and git does not complain of it there.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

_CONFIG = """\
[core]
	repositoryformatversion = {version}
	filemode = true
	bare = false
	logallrefupdates = true
"""
_LONG_HASHES = """\
[extensions]
	objectformat = sha256
"""
_SHARED_INFO = ("commit-graph", "commit-graphs")
"""Entries of objects/info that make git faster."""


class Ref(NamedTuple):
    """A ref of the repository."""

    name: str
    target: str
    """The object that it is at: full name."""
    tagged: str
    """The object that its annotated tag is of; empty for any other object."""
    target_type: str
    """`commit`, `tag`, …"""
    tagged_type: str

    def commit_of(self, revision: str) -> str:
        """Return the commit that a revision is, as far as this ref tells; empty if it does not."""
        if self.target_type == "commit" and revision == self.target:
            return revision
        return self.tagged if self.tagged_type == "commit" and revision in (self.target, self.tagged) else ""


def make(directory: str, repository: str, refs: Sequence[Ref], revision: str) -> None:
    """Make the directory, with the revision as HEAD. Raises OSError.

    By hand: `git init` would take longer, and follow settings of the user's, such as one for another format of refs.
    """
    for part in ("objects/info", "objects/pack", "refs", "info"):
        os.makedirs(os.path.join(directory, part))
    is_long = len(revision) == 64
    config = _CONFIG.format(version=int(is_long)) + (_LONG_HASHES if is_long else "")
    _write(os.path.join(directory, "config"), config.encode())
    set_head(directory, revision)
    _write(os.path.join(directory, "packed-refs"), _packed_refs(refs))
    _borrow(directory, os.path.join(repository, "objects"))
    boundary = shallow(repository)
    if boundary:
        _write(os.path.join(directory, "shallow"), boundary)


def set_head(directory: str, commit: str) -> None:
    """Make a commit the one that is checked out."""
    _write(os.path.join(directory, "HEAD"), f"{commit}\n".encode())


def head(directory: str) -> str:
    """Return the commit that is checked out."""
    with open(os.path.join(directory, "HEAD"), encoding="ascii") as file:
        return file.read().strip()


def shallow(repository: str) -> bytes:
    """Return the commits at which the history of a shallow repository ends (gitrepository-layout(5), "shallow")."""
    try:
        with open(os.path.join(repository, "shallow"), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _packed_refs(refs: Sequence[Ref]) -> bytes:
    """Return the refs as a clone has them: tags by their names, branches as those of `origin` (git-pack-refs(1))."""
    lines = []
    for ref in refs:
        if ref.name.startswith("refs/tags/"):
            lines.append(f"{ref.target} {ref.name}\n")
        elif ref.name.startswith("refs/heads/"):
            lines.append(f"{ref.target} refs/remotes/origin/{ref.name.removeprefix('refs/heads/')}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def _borrow(directory: str, objects: str) -> None:
    """Lend the work tree all objects in the directory `objects`, and in those that it borrows from itself."""
    loan = os.path.join(directory, "borrowed")
    os.makedirs(os.path.join(loan, "info"))
    for name in os.listdir(objects):
        if len(name) == 2 or name == "pack":
            os.symlink(os.path.join(objects, name), os.path.join(loan, name))
    for name in _SHARED_INFO:
        if os.path.exists(source := os.path.join(objects, "info", name)):
            os.symlink(source, os.path.join(loan, "info", name))
    lines = ["../borrowed"]
    try:
        with open(os.path.join(objects, "info", "alternates"), encoding="utf-8", errors="surrogateescape") as file:
            lines += [os.path.join(objects, line) for line in file.read().splitlines() if line and line[0] != "#"]
    except FileNotFoundError:
        pass
    text = "".join(f"{line}\n" for line in lines)
    _write(os.path.join(directory, "objects/info/alternates"), os.fsencode(text))


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
