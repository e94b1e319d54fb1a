"""The submodules of a work tree (gitsubmodules(7)), checked out with the keys and the settings of the user."""

import os
import re
from collections.abc import Sequence

from tinyci.stage import git
from tinyci.stage.git import GitError
from tinyci.stage.status import StageError

_PATH = re.compile(r"repository '(/[^'\n]+)'")


def check_out(run: Sequence[str], tree: str, repository: str, paths: Sequence[str]) -> None:
    """Check out the submodules at these paths, and theirs. Raises StageError.

    `run`: the command line of git in the tree.
    """
    _check_named(run, tree, paths)
    # A relative URL is relative to this one (gitmodules(5)).
    git.run(*run, "config", "remote.origin.url", repository)
    settings = os.path.join(tree, ".git", "tinyci.config")
    # Repositories beside ours are not the user's own, and what git starts to read them hears of no option of ours.
    with open(settings, "w", encoding="ascii") as file:
        file.write(
            "[include]\n\tpath = ~/.config/git/config\n[include]\n\tpath = ~/.gitconfig\n"
            '[safe]\n\tdirectory = *\n[protocol "file"]\n\tallow = always\n'
        )
    update = ("submodule", "--quiet", "update", "--init", "--recursive", "--", *paths)
    try:
        git.run(*run, *update, GIT_CONFIG_GLOBAL=settings, GIT_SSH_COMMAND="ssh -o BatchMode=yes")
    except GitError as error:
        user = os.environ.get("USER", str(os.geteuid()))
        if path := _closed_repository(error):
            raise StageError(
                f"{path}, from which a submodule comes, cannot be read by {user}; as root: setfacl -R -m "
                f"u:{user}:rX,d:u:{user}:rX {path}"
            ) from None
        raise StageError(
            f"the submodules {', '.join(paths)[:200]} cannot be checked out: {error.cause}; a relative URL in "
            f".gitmodules leads beside {repository}, and {user} has to reach any other without a password, and to "
            "know its server (known_hosts)"
        ) from None


def _closed_repository(error: GitError) -> str:
    """Return the repository on this host that the user may not read: git says that it does not exist."""
    paths = _PATH.findall("\n".join(error.lines))
    candidates = [candidate for path in paths for candidate in (path, f"{path}.git")]
    unreadable = (path for path in candidates if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK))
    return next(unreadable, "")


def _check_named(run: Sequence[str], tree: str, paths: Sequence[str]) -> None:
    """Raise StageError for a repository that was committed within the repository by mistake: its files were not."""
    names: set[str] = set()
    file = os.path.join(tree, ".gitmodules")
    if os.path.exists(file):
        settings = ("config", "--file", file, "--null", "--get-regexp", r"^submodule\..*\.path$")
        try:
            names = {entry.partition("\n")[2] for entry in git.run(*run, *settings).split("\0")}
        except GitError as error:
            if error.lines:  # else it names none
                raise StageError(f"git cannot read .gitmodules: {error.cause}") from None
    strays = [path for path in paths if path not in names]
    if strays:
        more = f", one of {len(strays)}" if len(strays) > 1 else ""
        raise StageError(
            f"{strays[0]} is a git repository of its own{more}, whose files are not in this one, and .gitmodules does "
            f"not say where they are: 'git rm --cached {strays[0]}', then remove {strays[0]}/.git and 'git add "
            f"{strays[0]}' to have the files here, or 'git submodule add URL {strays[0]}'"
        )
