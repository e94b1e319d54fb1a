"""A push rebuilds and restarts a container, rootless and rootful."""

import re
from collections.abc import Callable

import pytest
from testhost import TestHost, Work

Clone = Callable[[str], Work]

APPS = {
    # repo: user, unit, port
    "hello-quadlet": ("hello-quadlet", "hello-quadlet.service", 8081),
    "hello-generated": ("hello-generated", "container-hello-generated.service", 8082),
    "hello-root": ("root", "hello-root.service", 8083),
}


@pytest.mark.parametrize("repo", APPS)
def test_a_push_deploys_what_was_pushed(server: TestHost, work: Clone, repo: str) -> None:
    user, unit, port = APPS[repo]
    for content in ("first", "second"):
        revision = work(repo).commit({"www/index.html": f"{repo} {content}\n"})
        push = server.push(work(repo))
        assert f"started job {push.job} for {repo}." in push.text
        job = server.wait(push.job)
        assert (job["state"], job["success"]) == ("succeeded", "true"), job
        assert server.get(f"http://127.0.0.1:{port}/") == f"{repo} {content}\n"
        assert job["revision"] == revision
        assert job["user"] == user
        assert "STEP" in job["output"], "the output of podman build"
        image = server.as_manager(user, f"podman image inspect --format '{{{{.Id}}}}' {repo}:latest").strip()
        runs = server.as_manager(user, "podman ps --no-trunc --format '{{.ImageID}} {{.Labels.PODMAN_SYSTEMD_UNIT}}'")
        assert f"{image} {unit}" in runs


def test_a_script_restarts_its_own_users_unit(server: TestHost, work: Clone) -> None:
    """The line that has always failed: systemctl --user in a script that a push starts."""
    assert (
        "systemctl --user restart container-hello-generated"
        in (work("hello-generated").path / "ci-build.sh").read_text()
    )
    work("hello-generated").commit({"www/index.html": "by the script\n"})
    before = server.show("hello-generated", "container-hello-generated.service", "InvocationID")
    push = server.push(work("hello-generated"))
    job = server.wait(push.job)
    assert job["state"] == "succeeded", job
    # The script's restart and the daemon's: two new invocations since, and systemd tells of both.
    seen = server.sh(
        "journalctl -o cat --no-pager --output-fields=USER_INVOCATION_ID -o json "
        "USER_UNIT=container-hello-generated.service JOB_RESULT=done JOB_TYPE=restart "
        f"--since '{job['started'].replace('T', ' ').replace('Z', ' UTC')}' | wc -l"
    )
    assert int(seen) >= 1, job["output"]
    assert server.show("hello-generated", "container-hello-generated.service", "InvocationID") != before
    assert server.get("http://127.0.0.1:8082/") == "by the script\n"


@pytest.mark.parametrize("repo", APPS)
def test_a_failing_build_restarts_nothing(server: TestHost, work: Clone, repo: str) -> None:
    user, unit, port = APPS[repo]
    before = server.show(user, unit, "InvocationID")
    old = server.get(f"http://127.0.0.1:{port}/")
    clone = work(repo)
    script = (clone.path / "ci-build.sh").read_text()
    clone.commit({"ci-build.sh": "#!/bin/sh\necho something is wrong\nexit 3\n", "www/index.html": "never\n"})
    job = server.deploy(clone)
    clone.commit({"ci-build.sh": script})
    assert (job["state"], job["success"], job["exit_status"]) == ("failed", "false", "3")
    assert job["reason"] == "ci-build.sh exited with status 3"
    assert job["output"] == "something is wrong\n"
    assert server.show(user, unit, "InvocationID") == before
    assert server.get(f"http://127.0.0.1:{port}/") == old


def test_a_deletion_and_an_undeployed_branch_make_no_job(server: TestHost, work: Clone) -> None:
    work("probe").commit({"file": "1"})
    waiting = server.redis("zcard tinyci:jobs")
    branch = server.push(work("probe"), "HEAD:refs/heads/feature")
    assert branch.jobs == []
    assert "no job for probe: it deploys refs/heads/master" in branch.text
    deletion = server.push(work("probe"), ":refs/heads/feature")
    assert "no job for probe: refs/heads/feature was deleted." in deletion.text
    assert deletion.jobs == []
    assert server.redis("zcard tinyci:jobs") == waiting


def test_several_refs_in_one_push_are_several_jobs(server: TestHost, work: Clone) -> None:
    work("probe").script("echo $TINYCI_REF")
    push = server.push(work("probe"), "HEAD:refs/heads/release-1", "HEAD:refs/heads/release-2", "HEAD:refs/heads/other")
    assert len(push.jobs) == 2, push.text
    assert "no job for probe: it deploys" in push.text
    outcomes = server.wait_all(push.jobs)
    assert [job["state"] for job in outcomes] == ["succeeded", "succeeded"]
    assert [job["output"] for job in outcomes] == ["refs/heads/release-1\n", "refs/heads/release-2\n"]
    server.push(work("probe"), ":refs/heads/release-1", ":refs/heads/release-2", ":refs/heads/other")


def test_the_newest_of_several_tags_is_what_runs_in_the_end(server: TestHost, work: Clone) -> None:
    clone = work("hello-quadlet")
    tags = ["v1.9", "v1.10"]
    for tag in tags:
        clone.commit({"www/index.html": f"{tag}\n"})
        clone.git("tag", tag)
    with server.repo_file("hello-quadlet", refs='["refs/tags/*"]', settle='"200ms"'):
        push = server.push(clone, *tags)
        assert "hello-quadlet deploys these one after another, refs/tags/v1.10 last: that is what runs" in push.text
        outcomes = server.wait_all(push.jobs)
    assert [(job["ref"], job["state"]) for job in outcomes] == [(f"refs/tags/{tag}", "succeeded") for tag in tags]
    assert server.get("http://127.0.0.1:8081/") == "v1.10\n"
    server.push(clone, *(f":refs/tags/{tag}" for tag in tags))


def test_repos_of_different_users_deploy_at_the_same_time(server: TestHost, work: Clone) -> None:
    """Each build waits for the other two: alone it would never end."""
    server.sh("rm -rf /tmp/meet; mkdir -m 1777 /tmp/meet")
    jobs = []
    for repo in ("probe", "probe-other", "probe-root"):
        work(repo).script(
            "touch /tmp/meet/$TINYCI_REPO\n"
            "timeout 60 sh -c 'until [ $(ls /tmp/meet | wc -l) -ge 3 ]; do sleep 0.05; done'\n"
            "echo met; id -un"
        )
        jobs.append(server.push(work(repo)).job)
    outcomes = server.wait_all(jobs)
    assert [job["state"] for job in outcomes] == ["succeeded"] * 3, outcomes
    assert [job["output"] for job in outcomes] == ["met\nprobe\n", "met\nprobe-other\n", "met\nroot\n"]


def test_quick_pushes_deploy_in_order_and_the_last_one_stays(server: TestHost, work: Clone) -> None:
    server.sh("rm -f /tmp/order; touch /tmp/order; chown probe /tmp/order")
    jobs = []
    for number in range(10):
        work("probe").script(
            f"echo begin {number} >>/tmp/order; sleep 0.3; echo {number} >$HOME/deployed\n"
            f"echo end {number} >>/tmp/order"
        )
        jobs.append(server.push(work("probe")).job)
    outcomes = server.wait_all(jobs)
    assert {job["state"] for job in outcomes} <= {"succeeded", "superseded"}
    assert outcomes[-1]["state"] == "succeeded"
    lines = server.sh("cat /tmp/order").splitlines()
    ran = [int(line.split()[1]) for line in lines if line.startswith("begin")]
    assert lines == [f"{word} {number}" for number in ran for word in ("begin", "end")], "never two at once"
    assert ran == sorted(ran)
    assert ran == [number for number, job in enumerate(outcomes) if job["state"] == "succeeded"]
    assert server.sh("cat ~probe/deployed") == "9\n"
    newer = [job["reason"] for job in outcomes if job["state"] == "superseded"]
    assert all(re.fullmatch(r"job [0-9a-f-]{36} deploys a newer push of refs/heads/master", text) for text in newer)


@pytest.mark.parametrize(
    ("files", "state", "reason"),
    [
        ({"other": "x"}, "failed", "the revision has no ci-build.sh: add the script, executable, to the repository"),
        (
            {"ci-build.sh": "true\n", "mode": "644"},
            "failed",
            "ci-build.sh is neither executable nor begins with #!: chmod +x ci-build.sh && "
            "git commit -am 'Make ci-build.sh executable'",
        ),
        (
            {"ci-build.sh": "#!/no/such/shell\n"},
            "failed",
            "ci-build.sh cannot be run: No such file or directory; is its first line a #! that exists here?",
        ),
    ],
)
def test_a_script_that_cannot_run_is_told_apart(
    server: TestHost, work: Clone, files: dict[str, str], state: str, reason: str
) -> None:
    clone = work("probe")
    clone.git("rm", "-q", "--ignore-unmatch", "ci-build.sh")
    clone.commit(files)
    if files.get("mode") == "644":
        (clone.path / "ci-build.sh").chmod(0o644)
        clone.git("commit", "-qam", "Not executable")
    job = server.deploy(clone)
    assert (job["state"], job["success"], job["reason"]) == (state, "false", reason)


def test_a_revision_that_is_not_there_is_rejected(server: TestHost) -> None:
    job = "00000000-0000-4000-8000-0000000000aa"
    revision = "1234567890" * 4
    server.redis(f"hset tinyci:job:{job} repo probe ref refs/heads/master revision {revision}")
    server.redis(f"lpush tinyci:queue {job}")
    outcome = server.wait(job)
    assert (outcome["state"], outcome["success"]) == ("rejected", "false")
    assert f"revision {revision} is not in /srv/git/probe.git" in outcome["reason"]


def test_an_unreadable_repository_is_named(server: TestHost, work: Clone) -> None:
    work("probe-other").script("true")
    server.sh("chmod g-rx /srv/git/probe-other.git")
    try:
        job = server.deploy(work("probe-other"))
    finally:
        server.sh("chmod g+rx /srv/git/probe-other.git")
    assert job["state"] == "failed"
    assert "/srv/git/probe-other.git cannot be read by probe-other: Permission denied" in job["reason"]


def test_submodules_beside_the_repository_are_checked_out(server: TestHost, work: Clone) -> None:
    """The repository beside it is git's own, which the app's user only reads."""
    clone = work("probe-other")
    clone.script("cat lib/c")
    server.sh("install -d -o git -g git /srv/git/lib.git")
    server.sh(
        "cd /srv/git && git init -q --bare lib.git && git -C lib.git symbolic-ref HEAD refs/heads/main && "
        "tree=$(echo theirs | git -C lib.git hash-object -w --stdin | xargs printf '100644 blob %s\\tc\\n' | "
        "git -C lib.git mktree) && commit=$(git -C lib.git -c user.name=x -c user.email=x commit-tree -m x $tree) && "
        "git -C lib.git update-ref refs/heads/main $commit && chmod -R go+rX lib.git",
        "git",
    )
    try:
        revision = server.sh("git -C /srv/git/lib.git rev-parse main", "git").strip()
        clone.git("update-index", "--add", "--cacheinfo", f"160000,{revision},lib")
        (clone.path / ".gitmodules").write_text('[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n')
        clone.git("add", ".gitmodules")
        clone.git("commit", "-qm", "Submodule")
        job = server.deploy(clone)
        clone.git("rm", "-q", "--cached", "lib", ".gitmodules")
        (clone.path / ".gitmodules").unlink()
        clone.commit({}, "None again")
        assert (job["state"], job["output"]) == ("succeeded", "theirs\n"), job
    finally:
        server.sh("rm -r /srv/git/lib.git")


def test_a_shell_script_can_make_a_job(server: TestHost, work: Clone) -> None:
    """Three fields and an id: what a script with redis-cli knows."""
    work("probe").script("git rev-parse --short HEAD; echo $1")
    first = server.deploy(work("probe"))
    job = server.sh("cat /proc/sys/kernel/random/uuid").strip()
    server.redis(f"hset tinyci:job:{job} repo probe ref refs/heads/master revision {first['revision']}")
    server.redis(f"lpush tinyci:queue {job}")
    outcome = server.wait(job)
    assert outcome["state"] == "succeeded"
    short, whole = outcome["output"].split()
    assert whole == first["revision"]
    assert whole.startswith(short)
