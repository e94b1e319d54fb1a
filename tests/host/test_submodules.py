"""Submodules from a server that the app's user has a key for."""

from collections.abc import Callable, Iterator

import pytest
from testhost import TestHost, Work

KEYS = "/srv/git/.ssh/authorized_keys"
LIBRARY = "/srv/git/theirs.git"


@pytest.fixture
def library(server: TestHost) -> Iterator[str]:
    """A repository that the key of the user probe alone may read, by SSH; yields its revision."""
    server.sh(
        "cd /srv/git && git init -q --bare theirs.git && cd theirs.git && git symbolic-ref HEAD refs/heads/main && "
        "tree=$(echo theirs | git hash-object -w --stdin | xargs printf '100644 blob %s\\tc\\n' | git mktree) && "
        "git update-ref refs/heads/main $(git -c user.name=x -c user.email=x commit-tree -m x $tree) && "
        "chmod -R o-rwx . && chown -R git: .; "
        "install -d -o probe -g probe -m 700 ~probe/.ssh && "
        "ssh-keygen -q -t ed25519 -N '' -f ~probe/.ssh/id_ed25519 && "
        f"chown -R probe: ~probe/.ssh && cp -a {KEYS} {KEYS}.kept && "
        f'printf \'restrict,command="key probe {LIBRARY}" %s\\n\' "$(cat ~probe/.ssh/id_ed25519.pub)" >>{KEYS}'
    )
    try:
        yield server.sh(f"git -C {LIBRARY} rev-parse main", "git").strip()
    finally:
        server.sh(f"rm -r {LIBRARY} ~probe/.ssh; mv {KEYS}.kept {KEYS}")


def test_a_submodule_is_fetched_with_the_key_of_the_user(
    server: TestHost, work: Callable[[str], Work], library: str
) -> None:
    clone = work("probe")
    clone.script("cat vendor/theirs/c")
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{library},vendor/theirs")
    url = f"ssh://git@localhost{LIBRARY}"
    (clone.path / ".gitmodules").write_text(f'[submodule "t"]\n\tpath = vendor/theirs\n\turl = {url}\n')
    clone.git("add", ".gitmodules")
    clone.git("commit", "-qm", "Submodule")
    try:
        job = server.deploy(clone)
        assert job["state"] == "failed", job
        assert job["reason"].startswith(
            "the submodules vendor/theirs cannot be checked out: Host key verification failed.; "
        ), job["reason"]
        assert "and to know its server (known_hosts)" in job["reason"]
        server.sh("ssh-keyscan localhost 2>/dev/null >~probe/.ssh/known_hosts; chmod 644 ~probe/.ssh/known_hosts")
        clone.git("commit", "-q", "--amend", "-m", "Again")
        job = server.deploy(clone)
        assert (job["state"], job["output"]) == ("succeeded", "theirs\n"), job
    finally:
        clone.git("rm", "-q", "--cached", "vendor/theirs", ".gitmodules")
        (clone.path / ".gitmodules").unlink()
        clone.commit({}, "None again")
