"""Real git repositories: a bare one that is pushed to, and a person's clone of it."""

import os
import subprocess
from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "Lea",
    "GIT_AUTHOR_EMAIL": "lea@example.org",
    "GIT_COMMITTER_NAME": "Lea",
    "GIT_COMMITTER_EMAIL": "lea@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(directory: Path, *arguments: str, **environment: str) -> str:
    """Run git, and return both its streams. Raises CalledProcessError, which has them too."""
    process = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={**os.environ, **IDENTITY, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    return process.stdout.decode("utf-8", "replace")


class Clone:
    """A person's clone of a new bare repository `NAME.git` beside it."""

    def __init__(self, directory: Path, name: str = "web", objects: str = "sha1") -> None:
        self.bare = directory / f"{name}.git"
        self.tree = directory / f"{name}-clone"
        for command in (("init", "--bare", str(self.bare)), ("init", str(self.tree))):
            git(directory, *command, "--quiet", "--initial-branch=main", f"--object-format={objects}")
        self.git("remote", "add", "origin", str(self.bare))

    def git(self, *arguments: str, **environment: str) -> str:
        return git(self.tree, *arguments, **environment)

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(mode)

    def commit(self, message: str = "Change") -> str:
        """Commit the whole tree, and return the revision."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def push(self, *refspecs: str, **environment: str) -> str:
        """Push, and return the output that the person sees."""
        return self.git("push", "--porcelain", "origin", *(refspecs or ("main",)), **environment)
