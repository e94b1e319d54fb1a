"""Each problem that doctor knows, made to happen on purpose: doctor names it, and what it prints mends it.

Problems that do not hide each other happen at once, and their mends are run as printed, from the top.
"""

import subprocess
from collections.abc import Callable

import pytest
from breaking import ALL_UP, GATE, RATE, REPO, USER, Breakage, break_for_a_while
from decisions import DECISIONS
from examined import JsonFinding, doctor, finding_on, mend, wrong
from rounds import ROUNDS, SET_UP
from testhost import HOST, TestHost, Work


def log_in_again(server: TestHost) -> None:
    """End the connection that ssh keeps, since it has the groups that git was in when it began."""
    config = subprocess.run(
        [HOST, "ssh-config", server.name], capture_output=True, text=True, check=True
    ).stdout.strip()
    subprocess.run(["ssh", "-F", config, "-l", "git", "-O", "exit", server.name], capture_output=True, check=False)


def deploy(server: TestHost, clone: Work) -> None:
    """Push; assert that it is deployed."""
    clone.script("true")
    log_in_again(server)
    job = server.deploy(clone)
    assert job["state"] == "succeeded", job


def test_a_fresh_host_is_well(server: TestHost) -> None:
    server.sh("rm -f /var/spool/tinyci/*.bad")  # of tests that put there what is no job
    findings = doctor(server, "")
    assert not wrong(findings)
    assert [each for each in findings if each.verdict == "unchecked"] == []
    abouts = {each.about for each in findings}
    assert {"host", "user hello-quadlet", "user root", "repo hello-root", "repo hello-generated"} <= abouts


@pytest.mark.parametrize("name", ROUNDS)
def test_what_is_wrong_is_named_and_mended_as_printed(server: TestHost, name: str, work: Callable[[str], Work]) -> None:
    breakages, subject, deploys = ROUNDS[name]
    with break_for_a_while(server, breakages):
        findings = doctor(server, subject)
        for each in breakages:
            assert bool(finding_on(findings, each).mend) == (not each.by), finding_on(findings, each)
        mend(server, findings)
        server.run(f"export uid=$(id -u {USER}); {ALL_UP}")  # what has only just been started
        assert not wrong(doctor(server, subject))
        if deploys:
            deploy(server, work(deploys))
    # That all is as before is seen once, after the last round: each look takes seconds.


def test_after_all_rounds_the_host_is_well(server: TestHost) -> None:
    assert not wrong(doctor(server, ""))


@pytest.mark.parametrize("name", DECISIONS)
def test_what_a_person_has_to_decide_is_told_without_a_guess(server: TestHost, name: str) -> None:
    breakages, subject, _ = DECISIONS[name]
    with break_for_a_while(server, breakages):
        findings = doctor(server, subject)
        for each in breakages:
            assert each.by or not finding_on(findings, each).mend, finding_on(findings, each)
    assert not wrong(doctor(server, subject))


def test_an_app_is_set_up_by_what_doctor_prints(server: TestHost, work: Callable[[str], Work]) -> None:
    """A repo's file alone: user, subordinate ids, manager, gate and repository come of mends."""
    name = "doctor-app"
    deploy(server, work("probe"))
    server.sh(
        f"cat >/etc/tinyci/repos.d/{name}.toml; chmod 644 /etc/tinyci/repos.d/{name}.toml",
        stdin=f'repository = "/srv/git/{name}.git"\nuser = "{name}"\n',
    )
    try:
        problems: list[JsonFinding] = []
        for _ in range(4):
            findings = doctor(server, name)
            problems += wrong(findings)
            if wrong(findings):
                mend(server, findings)
        assert not wrong(findings)
        for each in SET_UP:
            assert finding_on(problems, each).mend
        work(name).script("true")
        # Over the connection that ssh keeps, and which is older than the app.
        job = server.deploy(work(name))
        assert job["state"] == "succeeded", job
    finally:
        server.run(
            f"uid=$(id -u {name}) && {{ systemctl disable -q --now tinyci-gate@$uid; loginctl disable-linger {name}\n"
            f"systemctl stop user@$uid.service; userdel --remove {name}; gpasswd -d git {name}; groupdel {name}; }}\n"
            f"{RATE}; rm -rf /srv/git/{name}.git /etc/tinyci/repos.d/{name}.toml; systemctl reload tinyci"
        )
    assert not wrong(doctor(server, REPO))


@pytest.mark.parametrize("user", ["nobody", USER])
def test_who_is_not_root_gets_no_false_alarm(server: TestHost, user: str) -> None:
    findings = doctor(server, "", user)
    assert not wrong(findings)
    reasons = {each.sentence for each in findings if each.verdict == "unchecked"}
    assert reasons == {"needs root"}


def test_who_is_not_root_sees_what_the_daemon_sees(server: TestHost) -> None:
    with break_for_a_while(
        server, [Breakage("gate/down", "is not up", f"systemctl stop {GATE}", f"systemctl start {GATE}")]
    ):
        problems = {each.check: each for each in wrong(doctor(server, REPO, "nobody"))}
        assert problems["gate"].mend.startswith("systemctl start tinyci-gate@")
        assert USER in problems["daemon-manager"].sentence
    assert not wrong(doctor(server, REPO, "nobody"))


def test_what_does_not_exist_is_no_failure_of_the_host(server: TestHost) -> None:
    result = server.run("tinyci doctor nobody-knows-it")
    assert result.status == 3
    assert "there is no repo and no user nobody-knows-it: the repos are hello-generated, " in result.err


def test_for_a_pipe_there_is_one_line_for_each_finding(server: TestHost) -> None:
    lines = server.sh(f"tinyci doctor {REPO}").splitlines()
    assert all(len(line.split("\t")) == 5 for line in lines)
    assert f"ok\tuser {USER}\tgate" in [line.rpartition("\ttinyci-gate")[0] for line in lines]
    report = server.sh(f"script -qec 'tinyci doctor {REPO}' /dev/null")
    assert "All is well." in report and len(report.splitlines()) == 5
