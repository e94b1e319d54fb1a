"""Each failure that doctor knows, made to happen on purpose: it is named, and what is printed for it mends it.

Failures that do not hide each other happen at once, and their mends are run as printed, from the top.
"""

import subprocess
from collections.abc import Callable

import pytest
from breaking import ALL_UP, GATE, REPO, USER, Broken, broken
from decisions import DECISIONS
from examined import Seen, doctor, mend, named, wrong
from rounds import ROUNDS, SET_UP
from testhost import HOST, TestHost, Work


def log_in_again(box: TestHost) -> None:
    """A connection that is kept has the groups that git was in when it was made."""
    config = subprocess.run([HOST, "ssh-config", box.name], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["ssh", "-F", config, "-l", "git", "-O", "exit", box.name], capture_output=True, check=False)


def deploy(box: TestHost, clone: Work) -> None:
    """Push, and see it deployed."""
    clone.script("true")
    log_in_again(box)
    job = box.deploy(clone)
    assert job["state"] == "succeeded", job


def test_a_fresh_host_is_well(box: TestHost) -> None:
    box.sh("rm -f /var/spool/tinyci/*.bad")  # of tests that put there what is no job
    seen = doctor(box, "")
    assert not wrong(seen)
    assert [each for each in seen if each.verdict == "unchecked"] == []
    abouts = {each.about for each in seen}
    assert {"host", "user hello-quadlet", "user root", "repo hello-root", "repo hello-generated"} <= abouts


@pytest.mark.parametrize("name", ROUNDS)
def test_what_is_wrong_is_named_and_mended_as_printed(box: TestHost, name: str, work: Callable[[str], Work]) -> None:
    breaks, subject, deploys = ROUNDS[name]
    with broken(box, breaks):
        seen = doctor(box, subject)
        for each in breaks:
            assert bool(named(seen, each).mend) == (not each.by), named(seen, each)
        mend(box, seen)
        box.run(f"export uid=$(id -u {USER}); {ALL_UP}")  # what has only just been started
        assert not wrong(doctor(box, subject))
        if deploys:
            deploy(box, work(deploys))
    # That all is as before is seen once, after the last round: each look takes seconds.


def test_after_all_rounds_the_host_is_well(box: TestHost) -> None:
    assert not wrong(doctor(box, ""))


@pytest.mark.parametrize("name", DECISIONS)
def test_what_a_person_has_to_decide_is_told_without_a_guess(box: TestHost, name: str) -> None:
    breaks, subject, _ = DECISIONS[name]
    with broken(box, breaks):
        seen = doctor(box, subject)
        for each in breaks:
            assert each.by or not named(seen, each).mend, named(seen, each)
    assert not wrong(doctor(box, subject))


def test_an_app_is_set_up_by_what_doctor_prints(box: TestHost, work: Callable[[str], Work]) -> None:
    """A repo's file alone: user, subordinate ids, manager, gate and repository come of mends."""
    name = "doctor-app"
    box.sh(
        f"cat >/etc/tinyci/repos.d/{name}.toml; chmod 644 /etc/tinyci/repos.d/{name}.toml",
        stdin=f'repository = "/srv/git/{name}.git"\nuser = "{name}"\n',
    )
    try:
        told: list[Seen] = []
        for _ in range(4):
            seen = doctor(box, name)
            told += wrong(seen)
            if wrong(seen):
                mend(box, seen)
        assert not wrong(seen)
        for each in SET_UP:
            assert named(told, each).mend
        deploy(box, work(name))
    finally:
        box.run(
            f"uid=$(id -u {name}) && {{ systemctl disable -q --now tinyci-gate@$uid; loginctl disable-linger {name}\n"
            f"systemctl stop user@$uid.service; userdel --remove {name}; gpasswd -d git {name}; groupdel {name}; }}\n"
            f"rm -rf /srv/git/{name}.git /etc/tinyci/repos.d/{name}.toml; systemctl reload tinyci"
        )
    assert not wrong(doctor(box, REPO))


@pytest.mark.parametrize("user", ["nobody", USER])
def test_who_is_not_root_gets_no_false_alarm(box: TestHost, user: str) -> None:
    seen = doctor(box, "", user)
    assert not wrong(seen)
    skipped = {each.sentence for each in seen if each.verdict == "unchecked"}
    assert skipped == {"needs root"}


def test_who_is_not_root_sees_what_the_daemon_sees(box: TestHost) -> None:
    with broken(box, [Broken("gate", "is not up", f"systemctl stop {GATE}", f"systemctl start {GATE}")]):
        found = {each.check: each for each in wrong(doctor(box, REPO, "nobody"))}
        assert found["gate"].mend.startswith("systemctl start tinyci-gate@")
        assert USER in found["daemon-manager"].sentence
    assert not wrong(doctor(box, REPO, "nobody"))


def test_what_does_not_exist_is_no_failure_of_the_host(box: TestHost) -> None:
    done = box.run("tinyci doctor nobody-knows-it")
    assert done.status == 3
    assert "there is no repo and no user nobody-knows-it: the repos are hello-generated, " in done.err


def test_for_a_pipe_there_is_one_line_for_each_finding(box: TestHost) -> None:
    lines = box.sh(f"tinyci doctor {REPO}").splitlines()
    assert all(len(line.split("\t")) == 5 for line in lines)
    assert f"ok\tuser {USER}\tgate" in [line.rpartition("\ttinyci-gate")[0] for line in lines]
    told = box.sh(f"script -qec 'tinyci doctor {REPO}' /dev/null")
    assert "All is well." in told and len(told.splitlines()) == 5
