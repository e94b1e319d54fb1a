"""Submodules that the app's user may not read yet."""

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


@pytest.fixture
def clone(work: Callable[[str], Work], library: str) -> Iterator[Work]:
    """The clone of probe, with that revision as a submodule."""
    clone = work("probe")
    clone.script("cat vendor/theirs/c")
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{library},vendor/theirs")
    yield clone
    clone.git("rm", "-q", "--cached", "vendor/theirs", ".gitmodules")
    (clone.path / ".gitmodules").unlink()
    clone.commit({}, "None again")


def commit(clone: Work, url: str) -> None:
    """Commit the submodule as one of that URL."""
    (clone.path / ".gitmodules").write_text(f'[submodule "t"]\n\tpath = vendor/theirs\n\turl = {url}\n')
    clone.git("add", ".gitmodules")
    clone.git("commit", "-q", "--allow-empty", "-m", "Submodule")


def test_a_submodule_is_fetched_with_the_key_of_the_user(server: TestHost, clone: Work) -> None:
    commit(clone, f"ssh://git@localhost{LIBRARY}")
    job = server.deploy(clone)
    assert job["state"] == "failed", job
    assert job["reason"].startswith(
        "the submodules vendor/theirs cannot be checked out: Host key verification failed.; "
    ), job["reason"]
    assert "and to know its server (known_hosts)" in job["reason"]
    server.sh("ssh-keyscan localhost 2>/dev/null >~probe/.ssh/known_hosts; chmod 644 ~probe/.ssh/known_hosts")
    commit(clone, f"git@localhost:{LIBRARY}")
    job = server.deploy(clone)
    assert (job["state"], job["output"]) == ("succeeded", "theirs\n"), job


@pytest.mark.parametrize("url", ["../theirs.git", "../theirs", LIBRARY])
def test_a_submodule_from_a_closed_repository_is_told_with_what_opens_it(
    server: TestHost, clone: Work, url: str
) -> None:
    commit(clone, url)
    job = server.deploy(clone)
    assert job["state"] == "failed", job
    sentence, mend = job["reason"].split("; as root: ")
    assert sentence == f"{LIBRARY}, from which a submodule comes, cannot be read by probe"
    server.sh(mend)
    commit(clone, url)
    job = server.deploy(clone)
    assert (job["state"], job["output"]) == ("succeeded", "theirs\n"), job
