"""Findings of doctor on a repo: its repository, hook, units and templates."""

import pytest
from doctorfacts import ACTIVE, WELL, some_repo, verdict
from tinyci.doctor import (
    files,
    packages,
    repository,
    ssh,
    units,
)
from tinyci.doctor.system import CommandResult, File
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import STAGES


def test_a_repository() -> None:
    directory = File("git", "web", 0o2750, True)
    assert verdict(repository.judge_there("/r", "web", [], directory)) == "ok"
    assert "setfacl -R -m u:web:rX,d:u:web:rX /r" in repository.judge_there("/r", "web", ["HEAD"], None).mend
    assert "setfacl" not in repository.judge_there("/r", "", ["HEAD"], None).mend
    broken_repository = repository.judge_there("/r", "web", ["HEAD"], directory)
    assert verdict(broken_repository, "HEAD") == "wrong" and not broken_repository.mend, (
        "what was in it, a person knows"
    )


def test_a_repositorys_rights() -> None:
    assert verdict(repository.judge_readable("/r", "web", WELL)) == "ok"
    assert (
        verdict(repository.judge_readable("/r", "web", CommandResult(0, "/r/objects/a\n", "")), "objects/a") == "wrong"
    )
    assert verdict(repository.judge_readable("/r", "web", CommandResult(1, "", "find: denied")), "denied") == "wrong"
    assert verdict(repository.judge_readable("/r", "web", CommandResult(124, "", "late"))) == "unchecked"
    assert verdict(repository.judge_private("/r", 0o2750)) == "ok"
    assert verdict(repository.judge_private("/r", 0o2755), "2755") == "wrong"
    assert verdict(repository.judge_private("/r", 0o2770)) == "wrong"
    assert verdict(repository.judge_owned("/r", "git", WELL)) == "ok"
    assert (
        verdict(repository.judge_owned("/r", "git", CommandResult(0, "/r/packed-refs", "")), "packed-refs") == "wrong"
    )


def test_who_pushes() -> None:
    assert verdict(repository.judge_groups("git", [])) == "ok"
    assert repository.judge_groups("git", ["a", "b"]).mend == "usermod --append --groups a,b git"
    assert verdict(repository.judge_shell("git", "/usr/bin/git-shell", is_there=True)) == "ok"
    assert verdict(repository.judge_shell("git", "/usr/sbin/nologin", is_there=True)) == "wrong"
    assert repository.judge_shell("git", "/usr/bin/git-shell", is_there=False).mend == packages.again("git")
    assert not repository.judge_shell("git", "/bin/fish", is_there=False).mend


SSHD = "UsePAM yes\npubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n"
KEYS = ["/srv/git/.ssh/authorized_keys"]


@pytest.mark.parametrize(
    ("settings", "keys", "problems"),
    [
        (SSHD, KEYS, []),
        (SSHD + "allowusers root\nallowusers gi?@10.0.0.0/8\nallowgroups tinyci-push\n", KEYS, []),
        (SSHD + "AllowUsers root\n", KEYS, ["push-ssh/refuses"]),
        (SSHD + "allowgroups wheel\ndenygroups git*\n", KEYS, ["push-ssh/refuses"] * 2),
        (SSHD + "denyusers git\n", KEYS, ["push-ssh/refuses"]),
        ("pubkeyauthentication no\n", [], ["push-ssh/refuses"]),
        ("usepam no\n", [], ["push-ssh/locked"]),
        ("authorizedkeysfile /etc/ssh/keys/%u\n", [], ["push-ssh/keys-elsewhere"]),
        ("authorizedkeysfile none\nauthorizedkeyscommand /usr/bin/keys\n", [], []),
    ],
)
def test_sshd_lets_in_who_pushes(settings: str, keys: list[str], problems: list[str]) -> None:
    groups = ["git", "tinyci-push"]
    findings = ssh.judge("git", "/srv/git", groups, ssh.parse_settings(settings), keys, is_locked=True)
    assert [finding.problem for finding in findings if finding.problem] == problems
    assert bool(problems) is not any(finding.verdict == "ok" for finding in findings)


def test_where_sshd_looks_for_keys() -> None:
    files = [".ssh/authorized_keys", "/etc/ssh/keys/%u", "%h/keys", "none"]
    assert ssh.paths(files, "git", "/srv/git") == [
        "/srv/git/.ssh/authorized_keys",
        "/etc/ssh/keys/git",
        "/srv/git/keys",
    ]


def test_the_hook() -> None:
    hook = File("root", "root", 0o755, False)
    assert verdict(repository.judge_hook("/r", "git", files.HOOK, is_ours=True)) == "ok"
    assert (
        "core.hooksPath /opt/tinyci/hooks"
        in repository.judge_hook("/r", "git", "/r/hooks/post-receive", is_ours=False).mend
    )
    assert verdict(repository.judge_runs("git", hook, WELL)) == "ok"
    assert verdict(repository.judge_runs("git", None, WELL), "missing") == "wrong"
    assert repository.judge_runs("git", File("root", "root", 0o644, False), WELL).mend == f"chmod 755 {files.HOOK}"
    assert verdict(repository.judge_runs("git", hook, CommandResult(0, "no job: no file", "")), "no job") == "wrong"
    assert verdict(repository.judge_runs("git", hook, CommandResult(1, "", "a traceback"))) == "wrong"


@pytest.mark.parametrize(
    ("changed", "quadlet", "complaint", "mend"),
    [
        ({}, "", "", None),
        ({"LoadState": "masked"}, "", "", "unmask web.service"),
        ({"LoadState": "not-found"}, "", "", ""),
        ({"LoadState": "not-found"}, "/q/web.container", "", "daemon-reload"),
        ({"LoadState": "not-found"}, "/q/web.container", "unsupported key", ""),
        ({"LoadState": "bad-setting", "LoadError": 'a.b "no ExecStart="'}, "", "", ""),
        ({"NeedDaemonReload": "yes"}, "", "", "daemon-reload"),
    ],
)
def test_a_unit(changed: dict[str, str], quadlet: str, complaint: str, mend: str | None) -> None:
    finding = units.judge_unit("web", "web.service", {**ACTIVE, **changed}, quadlet, complaint)
    assert (verdict(finding, complaint) == "ok") == (mend is None)
    assert finding.mend == (f"systemctl --user -M web@ {mend}" if mend else "")


def test_what_podmans_generator_says() -> None:
    result = CommandResult(
        1, "---a.service---\n[Unit]\n", 'quadlet-generator[7]: converting "b.container": unsupported key\n'
    )
    assert units.generator_complaint(result, "a.service", "/q/a.container") == ""
    assert (
        units.generator_complaint(result, "b.service", "/q/b.container") == 'converting "b.container": unsupported key'
    )
    assert "nothing" in units.generator_complaint(result, "c.service", "/q/c.container")


def test_templates_and_limits() -> None:
    three = [ACTIVE] * 3
    assert verdict(units.judge_stages("web", three)) == "ok"
    assert verdict(units.judge_stages("web", [{**ACTIVE, "LoadState": "masked"}, *three[1:]]), "masked") == "wrong"
    assert verdict(units.judge_stages("web", [*three[1:], {**ACTIVE, "LoadState": "not-found"}])) == "wrong"
    for stage in STAGES:
        assert verdict(units.judge_limit(some_repo(), stage, ACTIVE)) == "ok"
        assert verdict(units.judge_limit(some_repo(), stage, {**ACTIVE, "TimeoutStartUSec": "infinity"})) == "ok"


@pytest.mark.parametrize(
    ("stage", "repo", "limit", "words", "new_limit"),
    [
        ("build", some_repo(), "1min 30s", "30min of the repo's 'timeout'", "40min"),
        ("verify", some_repo(verify_timeout=3600.0), "1h", "1h 5s of the repo's 'settle' and", "1h 10min 35s"),
        ("verify", some_repo(verify_timeout=7200.0), "1h", "2h 5s of the repo's 'settle' and", "2h 10min 35s"),
        ("rollback", some_repo(), "1min", "5min that tinyci gives it", "15min"),
    ],
)
def test_a_template_that_ends_a_stage_too_early(stage: str, repo: Repo, limit: str, words: str, new_limit: str) -> None:
    short = units.judge_limit(repo, stage, {**ACTIVE, "TimeoutStartUSec": limit})
    assert verdict(short, f"tinyci-{stage}@.service ends a {stage} after {limit}", words) == "wrong"
    assert f"'{new_limit}' >/etc/systemd/user/tinyci-{stage}@.service.d/zz-timeout.conf" in short.mend
    assert short.mend.endswith("systemctl --user -M web@ daemon-reload")
