"""Keys that may push: to every repository or to those of some apps, and by name."""

import json
from collections.abc import Iterator

import pytest
from testhost import TREE, TestHost

FILES = TREE / "ansible" / "roles" / "git" / "files"
DIRECTORY = "/root/keys"
APPS = "/etc/tinyci/keys.d"


@pytest.fixture(scope="module")
def keys(server: TestHost) -> Iterator[None]:
    """Two keys on the host: Ann's for every repository, Bob's for that of probe alone."""
    server.sh(
        f"mkdir {DIRECTORY} && cd {DIRECTORY} && cp -a /srv/git/.ssh/authorized_keys kept && "
        "for name in ann bob; do ssh-keygen -q -t ed25519 -N '' -C $name@laptop -f $name; done && "
        f'printf \'{{"repository": "/srv/git/probe.git", "keys": ["%s"]}}\' "$(cat bob.pub)" >{APPS}/probe.json'
    )
    ann = {"key": server.sh(f"cat {DIRECTORY}/ann.pub"), "name": "Ann A."}
    everywhere = json.dumps([server.sh(f"tail -n 1 {DIRECTORY}/kept").strip(), ann])
    server.sh(f"cat >{DIRECTORY}/authorize.py", stdin=(FILES / "authorize.py").read_text())
    server.sh(f"python3 {DIRECTORY}/authorize.py /srv/git/.ssh/authorized_keys {APPS}", stdin=everywhere)
    try:
        yield
    finally:
        for name in ("ann", "bob"):
            server.sh(f"git -C /srv/git/probe.git update-ref -d refs/heads/release-{name}", "git")
        server.sh(f"mv {DIRECTORY}/kept /srv/git/.ssh/authorized_keys; rm -r {DIRECTORY} {APPS}/probe.json")


def ssh(server: TestHost, name: str, command: str) -> str:
    """Run git over SSH with the key of `name`; return what it prints."""
    options = f"-i {DIRECTORY}/{name} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    return server.run(f"cd {DIRECTORY}; export GIT_SSH_COMMAND='ssh -q {options}'; {command}").text


def push(server: TestHost, name: str, repo: str) -> str:
    identity = "-c user.name=x -c user.email=x@example.org"
    return ssh(
        server,
        name,
        "rm -rf clone; git init -q clone && cd clone && printf '#!/bin/sh\\n' >ci-build.sh && chmod +x ci-build.sh && "
        f"git add . && git {identity} commit -q -m {name} && "
        f"git push git@localhost:/srv/git/{repo}.git HEAD:refs/heads/release-{name}",
    )


@pytest.mark.usefixtures("keys")
def test_a_job_names_the_key_that_pushed(server: TestHost) -> None:
    for name, pusher in (("ann", "Ann A."), ("bob", "bob@laptop")):
        text = push(server, name, "probe")
        assert "started job" in text, text
        job = text.split("started job ")[1].split()[0]
        assert server.wait(job)["pusher"] == pusher
        assert f'"Pusher": "{pusher}"' in server.sh("tinyci show --json " + job)


@pytest.mark.usefixtures("keys")
def test_an_apps_key_neither_pushes_elsewhere_nor_reads(server: TestHost) -> None:
    text = push(server, "bob", "probe-root")
    assert "the key of bob@laptop is not for /srv/git/probe-root.git: it may use /srv/git/probe.git alone" in text
    assert "is not for" in ssh(server, "bob", "git ls-remote git@localhost:/srv/git/probe-root.git")
    assert "refs/heads/" in ssh(server, "bob", "git ls-remote git@localhost:/srv/git/probe.git")
    login = f"ssh -q -i {DIRECTORY}/bob -o IdentitiesOnly=yes -o StrictHostKeyChecking=no git@localhost"
    for command in ("", "id", "key root", "git-shell -c id"):
        assert "tinyci: " in server.run(f"{login} {command}").text
    # What git-lfs asks for before it uploads.
    lfs = server.run(f"{login} git-lfs-authenticate /srv/git/probe.git upload")
    assert (lfs.status, lfs.out) == (128, "")
    assert lfs.err.startswith("tinyci: this server takes no content of Git LFS, so nothing was pushed: ")
