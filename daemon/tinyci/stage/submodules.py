"""The submodules of a work tree (gitsubmodules(7)), checked out with the keys and the settings of the user."""

import os
from collections.abc import Sequence
from pathlib import Path

from tinyci.stage import git
from tinyci.stage.git import GitError
from tinyci.stage.status import StageError


def check_out(run: Sequence[str], tree: Path, repository: str, paths: Sequence[str]) -> None:
    """Check out the submodules at these paths, and theirs. Raises StageError.

    `run`: the command line of git in the tree.
    """
    # A relative URL is relative to this one (gitmodules(5)).
    git.run(*run, "config", "remote.origin.url", repository)
    settings = tree / ".git" / "tinyci.config"
    # Repositories beside ours are not the user's own, and what git starts to read them hears of no option of ours.
    settings.write_text(
        "[include]\n\tpath = ~/.config/git/config\n[include]\n\tpath = ~/.gitconfig\n"
        '[safe]\n\tdirectory = *\n[protocol "file"]\n\tallow = always\n',
        encoding="ascii",
    )
    update = ("submodule", "--quiet", "update", "--init", "--recursive", "--", *paths)
    try:
        git.run(*run, *update, GIT_CONFIG_GLOBAL=str(settings), GIT_SSH_COMMAND="ssh -o BatchMode=yes")
    except GitError as error:
        user = os.environ.get("USER", str(os.geteuid()))
        raise StageError(
            f"the submodules {', '.join(paths)[:200]} cannot be checked out: {error.cause}; a relative URL in "
            f".gitmodules leads beside {repository}, and {user} has to reach any other without a password, and to "
            "know its server (known_hosts)"
        ) from None
