"""The `.git` of a work tree: a repository that borrows the objects of a bare one (gitrepository-layout(5)).

The directory that it borrows from is its own, and full of links into the bare repository. So it is there also where the
bare repository is not, as in a container that the tree was copied into, and git does not complain of it there.
"""

import os
from collections.abc import Sequence
from pathlib import Path
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


def make(directory: Path, repository: str, refs: Sequence[Ref], revision: str) -> None:
    """Make the directory, with the revision as HEAD. Raises OSError.

    By hand: `git init` would take longer, and follow settings of the user's, such as one for another format of refs.
    """
    for part in ("objects/info", "objects/pack", "refs", "info"):
        (directory / part).mkdir(parents=True)
    is_long = len(revision) == 64
    config = _CONFIG.format(version=int(is_long)) + (_LONG_HASHES if is_long else "")
    (directory / "config").write_text(config, encoding="ascii")
    set_head(directory, revision)
    (directory / "packed-refs").write_bytes(_packed_refs(refs))
    _borrow(directory, os.path.join(repository, "objects"))
    boundary = shallow(repository)
    if boundary:
        (directory / "shallow").write_bytes(boundary)


def set_head(directory: Path, commit: str) -> None:
    """Make a commit the one that is checked out."""
    (directory / "HEAD").write_text(f"{commit}\n", encoding="ascii")


def head(directory: Path) -> str:
    """Return the commit that is checked out."""
    return (directory / "HEAD").read_text(encoding="ascii").strip()


def shallow(repository: str) -> bytes:
    """Return the commits at which the history of a shallow repository ends (gitrepository-layout(5), "shallow")."""
    try:
        return Path(repository, "shallow").read_bytes()
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


def _borrow(directory: Path, objects: str) -> None:
    """Lend the work tree all objects in the directory `objects`, and in those that it borrows from itself."""
    loan = directory / "borrowed"
    (loan / "info").mkdir(parents=True)
    for name in os.listdir(objects):
        if len(name) == 2 or name == "pack":
            os.symlink(os.path.join(objects, name), loan / name)
    for name in _SHARED_INFO:
        if os.path.exists(source := os.path.join(objects, "info", name)):
            os.symlink(source, loan / "info" / name)
    lines = ["../borrowed"]
    try:
        with open(os.path.join(objects, "info", "alternates"), encoding="utf-8", errors="surrogateescape") as file:
            lines += [os.path.join(objects, line) for line in file.read().splitlines() if line and line[0] != "#"]
    except FileNotFoundError:
        pass
    text = "".join(f"{line}\n" for line in lines)
    (directory / "objects" / "info" / "alternates").write_text(text, encoding="utf-8", errors="surrogateescape")
