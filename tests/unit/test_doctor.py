"""Findings of doctor on the host. That a mend mends is shown on a booted host (tests/host/test_doctor.py)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from doctorfacts import ACTIVE, some_repo, verdict
from tinyci.doctor import (
    accounts,
    code,
    configuration,
    daemon,
    files,
    gate,
    packages,
    polkit,
    redis,
    space,
    spool,
)
from tinyci.doctor.examination import NoSuchSubjectError, subjects
from tinyci.doctor.finding import Verdict
from tinyci.doctor.problems import REDIS_USERS
from tinyci.doctor.service import judge_enabled, judge_service
from tinyci.doctor.system import File, parse_properties

TREE = Path(__file__).resolve().parents[2]


# -- what is held in two places -------------------------------------------------------------------------------------


def test_the_gate_passes_what_its_unit_says() -> None:
    text = (TREE / "units/system/tinyci-gate@.service").read_text().replace("\\\n", " ").replace("%i", "7")
    command = next(line for line in text.splitlines() if line.startswith("ExecStart=")).partition("=")[2].split()
    assert gate.judge_filter(7, command, "").verdict is Verdict.OK
    assert len(command) == 4 + len(gate.PASSES)


def test_redis_users_may_do_what_the_role_writes() -> None:
    text = (TREE / "ansible/roles/redis/templates/users-tinyci.acl.j2").read_text()
    assert dict(re.findall(r"^user (\w+) on #{{[^}]*}} (.*)$", text, re.M)) == redis.RULES
    assert set(redis.RULES) == set(REDIS_USERS)


def test_every_file_that_can_be_missing_is_in_the_tree() -> None:
    places = {
        files.UNITS: "units/system",
        files.USER_UNITS: "units/user",
        "/usr/local/lib/tinyci": "units/lib",
        "/etc/sysusers.d": "units/sysusers.d",
        "/etc/tmpfiles.d": "units/tmpfiles.d",
        "/etc/dbus-1": "units/dbus-1",
        "/etc/polkit-1/rules.d": "polkit",
        "/usr/share/polkit-1/actions": "polkit",
        "/opt/tinyci/hooks": "hooks",
    }
    for path in files.FILES:
        place = next(place for place in places if path.startswith(f"{place}/"))
        assert (TREE / (places[place] + path.removeprefix(place))).is_file(), path


def test_the_spool_is_as_tmpfiles_makes_it() -> None:
    row = next(line for line in (TREE / "units/tmpfiles.d/tinyci.conf").read_text().splitlines() if "spool" in line)
    _, path, mode, owner, group, _ = row.split()
    assert (path, f"{mode} {owner}:{group}") == (spool.SPOOL, spool.RIGHTS)


def test_packages_are_those_that_the_roles_install() -> None:
    for role, names in (("podman", packages.PODMAN), ("tinyci", code.LIBRARIES.values())):
        text = (TREE / f"ansible/roles/{role}/defaults/main.yml").read_text()
        role_packages = re.findall(r"^  - (\S+)$", text.partition(f"{role}_packages:")[2], re.M)
        assert set(names) <= set(role_packages), role


def test_every_action_of_the_policy_is_asked_for() -> None:
    text = (TREE / "polkit/org.tinyci1.policy").read_text()
    assert set(re.findall(r'<action id="([^"]+)"', text)) == set(polkit.ACTIONS)


# -- services -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected", "mend"),
    [
        ({}, "ok", ""),
        ({"ActiveState": "inactive"}, "wrong", "systemctl start x.service"),
        ({"ActiveState": "reloading", "SubState": "reload"}, "ok", ""),
        ({"ActiveState": "refreshing"}, "ok", ""),
        ({"ActiveState": "failed"}, "wrong", "systemctl reset-failed x.service && systemctl restart x.service"),
        ({"LoadState": "masked"}, "wrong", "systemctl unmask x.service && systemctl restart x.service"),
        (
            {"LoadState": "masked", "ActiveState": "inactive"},
            "wrong",
            "systemctl unmask x.service && systemctl restart x.service",
        ),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "wrong", "install it"),
        ({"LoadState": "bad-setting", "ActiveState": "inactive"}, "wrong", ""),
        ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}, "wrong", ""),
        ({"ActiveState": "activating", "SubState": "start", "NRestarts": "2"}, "wrong", ""),
        ({"ActiveState": "activating", "SubState": "start", "StatusText": "waiting"}, "wrong", ""),
    ],
)
def test_a_service(changed: dict[str, str], expected: str, mend: str) -> None:
    finding = judge_service("x", "x.service", {**ACTIVE, **changed}, "nothing works", "install it", "it said so")
    assert (verdict(finding), finding.mend) == (expected, mend)
    assert expected == "ok" or "nothing works" in finding.sentence


def test_a_file_of_ours_that_systemd_cannot_load_is_had_back_unless_a_drop_in_is_to_blame() -> None:
    unit = {**ACTIVE, "LoadState": "bad-setting", "FragmentPath": f"{files.UNITS}/x.service"}
    assert judge_service("x", "x.service", unit, "", "install it").mend == "install it"
    theirs = judge_service("x", "x.service", {**unit, "DropInPaths": "/etc/x.conf"}, "", "install it", "it is so")
    assert verdict(theirs, "it is so", "systemctl cat x.service") == "wrong" and not theirs.mend


def test_a_manager_that_does_not_answer_is_no_failure_of_the_service() -> None:
    assert judge_service("x", "x.service", {}, "").verdict is Verdict.UNCHECKED
    assert judge_enabled("x", "x.service", {}, "").verdict is Verdict.UNCHECKED


def test_a_service_that_does_not_come_with_the_boot() -> None:
    assert judge_enabled("x", "x.service", ACTIVE, "").verdict is Verdict.OK
    assert (
        judge_enabled("x", "x.service", {**ACTIVE, "UnitFileState": "disabled"}, "").mend
        == "systemctl enable x.service"
    )
    assert judge_enabled("x", "x.service", {**ACTIVE, "UnitFileState": "static"}, "").verdict is Verdict.OK


# -- Redis ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", redis.RULES)
def test_a_redis_user(name: str) -> None:
    duties, excesses, _ = redis.TRIES[name]
    assert verdict(redis.judge_acl(name, excesses, "restart it")) == "ok"
    assert verdict(redis.judge_login(name, "wrong password", "restart it"), "wrong password") == "wrong"
    less = redis.judge_acl(name, [*excesses, duties[0]], "restart it")
    assert verdict(less, duties[0]) == "wrong" and less.mend.endswith("restart it") and redis.RULES[name] in less.mend
    assert verdict(redis.judge_acl(name, excesses[1:], ""), excesses[0]) == "wrong"


def test_nothing_that_is_tried_can_do_harm() -> None:
    """web and notify have no MULTI: what they should be refused must change nothing when it is let through."""
    for name in ("web", "notify"):
        for command in (*redis.TRIES[name].duties, *redis.TRIES[name].excesses):
            assert command.split()[0] in ("HGETALL", "LRANGE", "XREAD", "CONFIG") or command == "DEL tinyci:doctor"


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"aof_enabled": "1", "aof_last_write_status": "ok"}, "ok"),
        ({"aof_enabled": "0", "aof_last_write_status": "ok"}, "wrong"),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, "wrong"),
        ({}, "unchecked"),
    ],
)
def test_redis_keeps_what_it_is_told(info: dict[str, str], expected: str) -> None:
    assert verdict(redis.judge_persistence(info)) == expected


@pytest.mark.parametrize(
    ("policy", "most", "used", "expected"),
    [
        ("noeviction", "0", "1000", "ok"),
        ("allkeys-lru", "0", "1000", "ok"),
        ("noeviction", "1000", "100", "ok"),
        ("noeviction", "1000", "950", "wrong"),
        ("allkeys-lru", "1000", "100", "wrong"),
    ],
)
def test_redis_throws_nothing_away(policy: str, most: str, used: str, expected: str) -> None:
    info = redis.parse_info(f"# Memory\r\nused_memory:{used}\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}\r\n")
    assert verdict(redis.judge_memory(info)) == expected


def test_a_redis_password() -> None:
    rights = "640 root:tinyci-push"
    assert verdict(redis.judge_credential("hook", rights, rights)) == "ok"
    assert redis.judge_credential("hook", "600 root:root", rights).mend.startswith("chown root:tinyci-push ")
    finding = redis.judge_credential("daemon", "", "600 root:root")
    assert verdict(finding, "missing") == "wrong" and finding.mend.endswith("systemctl restart tinyci.service")


# -- the host -------------------------------------------------------------------------------------------------------


def test_the_spools_directory() -> None:
    good = File("tinyci", "tinyci-push", 0o1730, True)
    assert verdict(spool.judge_directory(good)) == "ok"
    assert verdict(spool.judge_directory(None), "missing") == "wrong"
    assert verdict(spool.judge_directory(File("root", "root", 0o1730, True)), "1730 root:root") == "wrong"
    assert verdict(spool.judge_directory(File("tinyci", "tinyci-push", 0o1730, False)), "no directory") == "wrong"


def test_the_spools_backlog() -> None:
    assert verdict(spool.judge_backlog({"a.json": 1.0, "b.json.new": 1.0})) == "ok", "it is taken in just now"
    assert verdict(spool.judge_backlog({"a.json": 100.0, "b.json": 1.0, "c.bad": 1.0}), "1 pushes wait") == "wrong"
    assert verdict(spool.judge_backlog({"a.json": -100.0}), "1 pushes wait") == "wrong", "the clock was set back"
    assert verdict(spool.judge_backlog({"a.bad": 1.0}), "a.bad") == "wrong"
    assert verdict(spool.judge_backlog({"a.json": 100.0, "a.bad": 1.0}), "a.bad a.json") == "wrong", "it is stuck"
    assert verdict(spool.judge_backlog({"a.json.new": 100.0}), "a.json.new") == "wrong", "its hook was killed"
    assert verdict(spool.judge_backlog({f"{n}.bad": 1.0 for n in range(99)}), "and 89 more") == "wrong"


def test_the_configurations_rights() -> None:
    repos, one = f"{configuration.ETC}/repos.d", f"{configuration.ETC}/repos.d/web.toml"
    fine = {repos: File("root", "root", 0o755, True), one: File("root", "root", 0o644, False)}
    assert [verdict(each) for each in configuration.judge_rights(fine)] == ["ok"]
    closed_files = {repos: File("root", "root", 0o744, True), one: File("root", "root", 0o600, False)}
    assert [each.mend for each in configuration.judge_rights(closed_files)] == [
        f"chmod a+rX {repos}",
        f"chmod a+rX {one}",
    ]
    for open_to_others in (File("web", "root", 0o644, False), File("root", "web", 0o664, False)):
        (finding,) = configuration.judge_rights({**fine, one: open_to_others})
        assert verdict(finding, "root alone") == "wrong"
    (none,) = configuration.judge_rights({repos: None})
    assert none.mend == f"install --directory --mode=0755 {repos}"


def test_a_wrong_file_is_told_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "repos.d").mkdir()
    (tmp_path / "repos.d/web.toml").write_text("user = 3")
    (tmp_path / "tinyci.toml").write_text("parallell = 3")
    config = configuration.Configuration(str(tmp_path))
    sentences = [each.sentence for each in configuration.judge_files(config.errors, 0)]
    assert len(sentences) == 2 and "parallell" in sentences[0] and "web.toml" in sentences[1]


def test_the_bus() -> None:
    assert verdict(daemon.judge_system_bus("")) == "ok"
    assert verdict(daemon.judge_system_bus("refused"), "refused") == "wrong"
    assert daemon.judge_bus("", "").verdict is Verdict.OK
    assert verdict(daemon.judge_bus("org.freedesktop.DBus.Error.AccessDenied", "no"), "policy") == "wrong"
    assert verdict(daemon.judge_bus("org.freedesktop.DBus.Error.ServiceUnknown", "no"), "does not own") == "wrong"
    assert daemon.judge_bus("NoReply", "late").mend == "systemctl restart tinyci.service"


def test_what_the_daemon_says_has_a_mend_where_nothing_else_tells_it() -> None:
    rows = [("daemon-redis", True, "a"), ("daemon-journal", False, "b"), ("daemon-manager", False, "c")]
    redis_finding, journal_finding, manager_finding = daemon.judge_rows(rows)
    assert (redis_finding.verdict, journal_finding.verdict, manager_finding.verdict) == (
        Verdict.OK,
        Verdict.WRONG,
        Verdict.WRONG,
    )
    assert "systemd-journal" in journal_finding.mend and not manager_finding.mend
    assert (journal_finding.problem, manager_finding.problem) == (
        "daemon-journal/unreadable",
        "daemon-manager/unreachable",
    )


def test_a_problem_that_only_another_version_of_the_daemon_knows_has_a_key_too() -> None:
    rows = [("daemon-configuration", False, "the moon is wrong"), ("daemon-moon", False, "is wrong")]
    assert [each.problem for each in daemon.judge_rows(rows)] == ["daemon-configuration/other", "daemon-moon/other"]


def test_code_that_is_missing() -> None:
    assert verdict(code.judge_code([])) == "ok"
    assert verdict(code.judge_code(["a", "b", "c", "d", "e"]), "a, b, c and 2 more") == "wrong"
    assert verdict(code.judge_libraries([])) == "ok"
    assert code.judge_libraries(["systemd", "redis"]).mend == packages.install("python3-redis", "python3-systemd")
    assert [verdict(each) for each in code.look()] == ["ok", "ok"]


def test_doctor_runs_without_the_libraries_that_it_looks_for() -> None:
    for name in ("redis", "sdnotify", "systemd"):
        program = f"import sys; sys.modules['{name}'] = None; import tinyci.doctor.examination"
        command = [sys.executable, "-c", program]
        subprocess.run(command, env={"PYTHONPATH": str(TREE / "daemon")}, check=True)


def test_accounts_and_the_queue() -> None:
    groups = ("tinyci", "tinyci-redis", "tinyci-push")
    assert verdict(accounts.judge_accounts(("tinyci",), groups)) == "ok"
    assert verdict(accounts.judge_accounts(("tinyci",), groups[:2]), "group tinyci-push") == "wrong"
    assert verdict(daemon.judge_paused(is_paused=False)) == "ok"
    assert daemon.judge_paused(is_paused=True).mend.endswith("Resume")


def test_polkits_rules() -> None:
    good = {**dict.fromkeys(polkit.DUTIES, True), **dict.fromkeys(polkit.EXCESSES, False)}
    assert verdict(polkit.judge_rules(good, is_ours=True)) == "ok"
    assert (
        verdict(polkit.judge_rules({**good, polkit.DUTIES[0]: False}, is_ours=False), "start tinyci-build@") == "wrong"
    )
    for question in polkit.EXCESSES:
        assert verdict(polkit.judge_rules({**good, question: True}, is_ours=True), "as good as root") == "wrong"


def test_polkits_actions() -> None:
    owners = dict.fromkeys(polkit.ACTIONS, "unix-user:tinyci")
    assert verdict(polkit.judge_actions(owners)) == "ok"
    assert verdict(polkit.judge_actions({**owners, polkit.ACTIONS[0]: ""}), polkit.ACTIONS[0]) == "wrong"


def test_a_unit_that_polkit_does_not_know_is_listed_with_those_that_were() -> None:
    one = some_repo(user="root")
    assert verdict(polkit.judge_listed(one, [], "")) == "ok"
    rules = 'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat(["db.service", "web@1.service"]);'
    finding = polkit.judge_listed(one, ["web.service"], rules)
    assert '["web.service", "db.service", "web@1.service"]' in finding.mend
    assert "/etc/polkit-1/rules.d/40-tinyci-web.rules" in finding.mend


def test_room() -> None:
    place, mib = space.Place("/x/y", "jobs", 100 * 1024 * 1024), 1024 * 1024
    assert verdict(space.judge(place, 100 * mib, 5000, "/x")) == "ok"
    assert verdict(space.judge(place, 100 * mib, -1, "/x")) == "ok", "a file system without a limit of files"
    assert verdict(space.judge(place, 99 * mib, 5000, "/x"), "99 MiB", "/x/y") == "wrong"
    assert verdict(space.judge(place, 100 * mib, 3, "/x"), "3 files") == "wrong"


# -- all of it ------------------------------------------------------------------------------------------------------


def test_subjects() -> None:
    one, two = some_repo(), some_repo(name="web-two")
    other = some_repo(name="other", user="root")
    repos = {each.name: each for each in (one, two, other)}
    assert subjects("", repos, {}, is_user=False) == ([one, two, other], ["web", "root"])
    assert subjects("web-two", repos, {}, is_user=False) == ([two], ["web"])
    assert subjects("web", repos, {}, is_user=True) == ([one, two], ["web"]), "a user, and a repo of that name"
    assert subjects("newcomer", repos, {}, is_user=True) == ([], ["newcomer"])
    assert subjects("bad", repos, {"/etc/tinyci/repos.d/bad.toml": "no"}, is_user=False) == ([], [])
    with pytest.raises(NoSuchSubjectError, match="no repo and no user nobody-knows: the repos are other, web, web-two"):
        subjects("nobody-knows", repos, {}, is_user=False)


def test_properties() -> None:
    assert parse_properties("A=b\nC=d=e\n\nnothing\n") == {"A": "b", "C": "d=e"}
