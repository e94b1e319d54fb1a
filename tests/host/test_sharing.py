"""Several users and one repository: who may read it, and who may make jobs of a push to it."""

from collections.abc import Callable, Iterator

import pytest
from examined import doctor, mend, wrong
from testhost import TREE, TestHost, Work

REPOSITORY = "/srv/git/probe.git"
SHARE = TREE / "ansible" / "roles" / "app" / "files" / "share.sh"
STAGING = f"""repository = "{REPOSITORY}"
user = "probe-other"
refs = ["refs/heads/master", "refs/heads/release-*"]
"""


@pytest.fixture
def staging(server: TestHost) -> Iterator[None]:
    """A second repo of probe's repository, whose user is another."""
    server.sh("cat >/etc/tinyci/repos.d/staging.toml; systemctl reload tinyci", stdin=STAGING)
    try:
        yield
    finally:
        server.sh(
            "rm /etc/tinyci/repos.d/staging.toml; systemctl reload tinyci; "
            f"setfacl -R -x u:probe-other,d:u:probe-other {REPOSITORY}"
        )


def deploy(server: TestHost, clone: Work) -> list[tuple[str, str]]:
    """Push; return the state and the output of each job, the one of probe first."""
    jobs = server.wait_all(server.push(clone).jobs)
    return [(job["state"], job["output"]) for job in sorted(jobs, key=lambda job: job["repo"])]


@pytest.mark.usefixtures("staging")
def test_a_push_is_built_by_each_user_whose_repo_it_is(server: TestHost, work: Callable[[str], Work]) -> None:
    clone = work("probe")
    share = f"sh -s {REPOSITORY} $(id -u probe-other)"
    assert server.sh(share, stdin=SHARE.read_text()) == "shared\n"
    assert server.sh(share, stdin=SHARE.read_text()) == ""
    both = [("succeeded", "probe\n"), ("succeeded", "probe-other\n")]
    clone.script("id -un")
    assert deploy(server, clone) == both
    # Enough objects for a pack (receive.unpackLimit).
    clone.commit({f"many/{number}": str(number) for number in range(150)})
    assert deploy(server, clone) == both
    clone.git("rm", "-rq", "many")
    clone.commit({}, "Few again")
    assert deploy(server, clone) == both


@pytest.mark.usefixtures("staging")
def test_doctor_lets_one_user_read_and_the_other_as_before(server: TestHost, work: Callable[[str], Work]) -> None:
    findings = doctor(server, "staging")
    assert [each.check for each in wrong(findings)] == ["repository-readable"]
    mend(server, findings)
    assert not wrong(doctor(server, "staging"))
    assert not wrong(doctor(server, "probe"))
    work("probe").script("id -un")
    assert deploy(server, work("probe")) == [("succeeded", "probe\n"), ("succeeded", "probe-other\n")]


def push_without(server: TestHost, groups: str) -> str:
    """Push as git does on a connection from before it got its groups."""
    return server.sh(
        "rm -rf /tmp/late && git init -q /tmp/late && chown -R git: /tmp/late && cd /tmp/late && "
        f"HOME=/tmp/late setpriv --reuid git --regid git {groups} sh -euc '"
        'printf "#!/bin/sh\\nid -un\\n" >ci-build.sh; chmod +x ci-build.sh; git add ci-build.sh; '
        "git -c user.name=x -c user.email=x@example.org commit -qm Late; "
        f"git push -q {REPOSITORY} HEAD:refs/heads/release-late; "
        f"git push -q {REPOSITORY} :refs/heads/release-late' 2>&1; rm -rf /tmp/late"
    )


def test_a_push_over_a_connection_that_is_older_than_the_groups_of_git_is_told_so(server: TestHost) -> None:
    text = push_without(server, "--clear-groups")
    assert "your SSH connection is older than groups of its user (" in text
    assert "tinyci-push, tinyci-redis" in text
    assert "'tinyci run probe' on the server makes its job" in text
    user = server.run(f"find {REPOSITORY} ! -readable -print -quit", "probe")
    assert (user.status, user.text) == (0, ""), "what it left is readable all the same"
