"""A repository, and the work tree in which a repo's builds check it out."""

import shutil
from pathlib import Path

from gitrepos import Clone, git
from tinyci.stage import checkout


class CheckoutFixture:
    """A repository and a workspace for its checkouts."""

    def __init__(self, directory: Path, objects: str = "sha1") -> None:
        self.clone = Clone(directory, objects=objects)
        self.workspace = directory / "cache" / "web"
        self.tree = self.workspace / "tree"

    def push(self, **files: str) -> str:
        """Push these files and no others, and return the revision. `__` in a name stands for a slash."""
        for path in self.clone.tree.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, text in files.items():
            self.clone.write(name.replace("__", "/"), text)
        revision = self.clone.commit()
        self.clone.push("+main")
        return revision

    def check_out(self, revision: str) -> Path:
        tree = checkout.check_out(str(self.workspace), str(self.clone.bare), revision)
        assert tree == str(self.tree)
        return self.tree

    def git(self, *arguments: str) -> str:
        """Run git as a script in the work tree does."""
        return git(self.tree, *arguments)

    def files(self) -> dict[str, str]:
        paths = (path for path in self.tree.rglob("*") if ".git" not in path.relative_to(self.tree).parts)
        return {str(path.relative_to(self.tree)): path.read_text() for path in paths if not path.is_dir()}
