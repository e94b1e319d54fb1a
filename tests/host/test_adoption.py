"""A repository that somebody else made, when role app takes it over."""

from collections.abc import Iterator

import pytest
from testhost import TREE, CommandResult, TestHost

SCRIPT = TREE / "ansible" / "roles" / "app" / "files" / "adopt.sh"
REPOSITORY, LENDER = "/srv/git/adopted.git", "/srv/git/lender.git"
OWNED = "/tmp/owned-by-adoption"


@pytest.fixture
def repository(server: TestHost) -> Iterator[None]:
    """One of probe's, which borrows objects and is set to run a program of probe's as who pushes."""
    server.sh(f"mkdir {REPOSITORY} {LENDER}; chown probe: {REPOSITORY} {LENDER}")
    try:
        server.sh(
            "export HOME=/tmp; cd /tmp; umask 022; "
            f"git init -q --bare {LENDER}; git -C {LENDER} -c user.name=x -c user.email=x@example.org "
            "update-ref refs/heads/master $(git -C " + LENDER + " -c user.name=x -c user.email=x@example.org "
            "commit-tree -m First $(git -C " + LENDER + " mktree </dev/null))\n"
            f"git clone -q --bare --shared {LENDER} {REPOSITORY} && cd {REPOSITORY} && "
            f"git config core.alternateRefsCommand 'touch {OWNED}; true #' && "
            "git config include.path /tmp/evil && ln -s /tmp/hook hooks/post-receive",
            "probe",
        )
        yield
    finally:
        server.sh(f"rm -rf {REPOSITORY} {LENDER}")


def adopt(server: TestHost) -> CommandResult:
    return server.run(f"sh -s {REPOSITORY} git", stdin=SCRIPT.read_text())


@pytest.mark.usefixtures("repository")
def test_its_former_owner_decides_nothing_any_more(server: TestHost) -> None:
    result = adopt(server)
    assert result.status == 0, result.text
    lines = result.out.splitlines()
    assert lines[0] == "took it over"
    assert {
        "not set any more: include.path",
        "not set any more: core.alternaterefscommand",
        "not run any more: hooks/post-receive",
    } <= set(lines)
    server.sh(f"rm -r {LENDER}; mkdir {LENDER}")
    assert server.sh(f"git -C {REPOSITORY} log --format=%s master", "git") == "First\n"
    assert server.sh(f"git config --file {REPOSITORY}/config --list --name-only").split() == [
        "core.repositoryformatversion",
        "core.filemode",
        "core.bare",
    ]
    assert (
        server.sh(f"find {REPOSITORY} ! -user git; test ! -e {OWNED}; test ! -e {REPOSITORY}/objects/info/alternates")
        == ""
    )
    assert adopt(server).out == ""


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("echo /tmp >commondir", "commondir: it leads git to another configuration: remove it"),
        ("git init -q --bare .git", ".git: it leads git to another configuration: remove it"),
        (
            "mv refs /tmp/refs-of-probe; ln -s /tmp/refs-of-probe refs",
            "refs: it is a link: put what it leads to in its place",
        ),
        (f"chmod 700 {LENDER}/objects", f"git cannot read the objects in {LENDER}/objects"),
    ],
)
def test_what_he_could_change_later_is_refused_by_name(server: TestHost, command: str, sentence: str) -> None:
    server.sh(f"cd {REPOSITORY}; {command}", "probe")
    try:
        result = adopt(server)
        assert result.status == 1
        assert sentence in result.err
        assert result.out == ""
        assert server.sh(f"stat -c %U {REPOSITORY}") == "probe\n"
    finally:
        server.sh("rm -rf /tmp/refs-of-probe")
