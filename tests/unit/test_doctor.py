"""What doctor makes of facts. That a mend mends is shown on a booted host (tests/host/test_doctor.py)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tinyci.cli import doctorreport
from tinyci.doctor import (
    accounts,
    code,
    configuration,
    daemon,
    files,
    gate,
    journal,
    packages,
    polkit,
    redis,
    repository,
    space,
    spool,
    units,
    user,
)
from tinyci.doctor.examination import NoSuchSubjectError, subjects
from tinyci.doctor.finding import Finding, Verdict, of, ok, unchecked, wrong
from tinyci.doctor.problems import REDIS_USERS, Problem
from tinyci.doctor.service import judge_enabled, judge_service
from tinyci.doctor.system import CommandResult, File, parse_properties
from tinyci.model import repo
from tinyci.model.repo import Repo

TREE = Path(__file__).resolve().parents[2]
WELL = CommandResult(0, "", "")
ACTIVE = {
    "LoadState": "loaded",
    "LoadError": "",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "Result": "success",
    "StatusText": "",
    "NeedDaemonReload": "no",
    "FragmentPath": "/etc/systemd/system/x.service",
    "DropInPaths": "",
    "NRestarts": "0",
    "TimeoutStartUSec": "6h",
    "LogRateLimitIntervalUSec": "1s",
    "LogRateLimitBurst": "100000000",
}


def some_repo(**keys: object) -> Repo:
    text = 'repository = "/srv/git/web.git"\nuser = "web"\nunits = ["web.service"]\n'
    return repo.parse("web.toml", text)._replace(**keys)


def verdict(finding: Finding, *words: str) -> str:
    for word in words:
        assert word in finding.sentence, finding
    assert "\n" not in finding.mend
    return finding.verdict.value


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
        listed = re.findall(r"^  - (\S+)$", text.partition(f"{role}_packages:")[2], re.M)
        assert set(names) <= set(listed), role


def test_every_action_of_the_policy_is_asked_for() -> None:
    text = (TREE / "polkit/org.tinyci1.policy").read_text()
    assert set(re.findall(r'<action id="([^"]+)"', text)) == set(polkit.ACTIONS)


# -- services -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected", "mend"),
    [
        ({}, "ok", ""),
        ({"ActiveState": "inactive"}, "wrong", "systemctl start x.service"),
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
    found = judge_service("x", "x.service", {**ACTIVE, **changed}, "nothing works", "install it", "it said so")
    assert (verdict(found), found.mend) == (expected, mend)
    assert expected == "ok" or "nothing works" in found.sentence


def test_a_file_of_ours_that_systemd_cannot_load_is_had_back_unless_a_drop_in_is_to_blame() -> None:
    spoiled = {**ACTIVE, "LoadState": "bad-setting", "FragmentPath": f"{files.UNITS}/x.service"}
    assert judge_service("x", "x.service", spoiled, "", "install it").mend == "install it"
    theirs = judge_service("x", "x.service", {**spoiled, "DropInPaths": "/etc/x.conf"}, "", "install it", "it is so")
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
    expected = "640 root:tinyci-push"
    assert verdict(redis.judge_credential("hook", expected, expected)) == "ok"
    assert redis.judge_credential("hook", "600 root:root", expected).mend.startswith("chown root:tinyci-push ")
    made = redis.judge_credential("daemon", "", "600 root:root")
    assert verdict(made, "missing") == "wrong" and made.mend.endswith("systemctl restart tinyci.service")


# -- the host -------------------------------------------------------------------------------------------------------


def test_the_spools_directory() -> None:
    good = File("tinyci", "tinyci-push", 0o1730, True)
    assert verdict(spool.judge_directory(good)) == "ok"
    assert verdict(spool.judge_directory(None), "missing") == "wrong"
    assert verdict(spool.judge_directory(File("root", "root", 0o1730, True)), "1730 root:root") == "wrong"
    assert verdict(spool.judge_directory(File("tinyci", "tinyci-push", 0o1730, False)), "no directory") == "wrong"


def test_the_spools_backlog() -> None:
    assert verdict(spool.judge_backlog({"a.json": 1.0}, [])) == "ok", "it is taken in just now"
    assert verdict(spool.judge_backlog({"a.json": 100.0, "b.json": 1.0}, []), "1 pushes wait") == "wrong"
    assert verdict(spool.judge_backlog({}, ["a.bad"]), "a.bad") == "wrong"


def test_the_configurations_rights() -> None:
    repos, one = f"{configuration.ETC}/repos.d", f"{configuration.ETC}/repos.d/web.toml"
    fine = {repos: File("root", "root", 0o755, True), one: File("root", "root", 0o644, False)}
    assert [verdict(each) for each in configuration.judge_rights(fine)] == ["ok"]
    closed = {repos: File("root", "root", 0o744, True), one: File("root", "root", 0o600, False)}
    assert [each.mend for each in configuration.judge_rights(closed)] == [f"chmod a+rX {repos}", f"chmod a+rX {one}"]
    for open_to_others in (File("web", "root", 0o644, False), File("root", "web", 0o664, False)):
        (found,) = configuration.judge_rights({**fine, one: open_to_others})
        assert verdict(found, "root alone") == "wrong"
    (none,) = configuration.judge_rights({repos: None})
    assert none.mend == f"install --directory --mode=0755 {repos}"


def test_a_wrong_file_is_told_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "repos.d").mkdir()
    (tmp_path / "repos.d/web.toml").write_text("user = 3")
    (tmp_path / "tinyci.toml").write_text("parallell = 3")
    found = configuration.Configuration(str(tmp_path))
    told = [each.sentence for each in configuration.judge_files(found.errors, 0)]
    assert len(told) == 2 and "parallell" in told[0] and "web.toml" in told[1]


def test_the_bus() -> None:
    assert verdict(daemon.judge_system_bus("")) == "ok"
    assert verdict(daemon.judge_system_bus("refused"), "refused") == "wrong"
    assert daemon.judge_bus("", "").verdict is Verdict.OK
    assert verdict(daemon.judge_bus("org.freedesktop.DBus.Error.AccessDenied", "no"), "policy") == "wrong"
    assert verdict(daemon.judge_bus("org.freedesktop.DBus.Error.ServiceUnknown", "no"), "does not own") == "wrong"
    assert daemon.judge_bus("NoReply", "late").mend == "systemctl restart tinyci.service"


def test_what_the_daemon_says_has_a_mend_where_nothing_else_tells_it() -> None:
    rows = [("daemon-redis", True, "a"), ("daemon-journal", False, "b"), ("daemon-manager", False, "c")]
    fine, mended, told = daemon.judge_rows(rows)
    assert (fine.verdict, mended.verdict, told.verdict) == (Verdict.OK, Verdict.WRONG, Verdict.WRONG)
    assert "systemd-journal" in mended.mend and not told.mend
    assert (mended.problem, told.problem) == ("daemon-journal/unreadable", "daemon-manager/unreachable")


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
    known = dict.fromkeys(polkit.ACTIONS, "unix-user:tinyci")
    assert verdict(polkit.judge_actions(known)) == "ok"
    assert verdict(polkit.judge_actions({**known, polkit.ACTIONS[0]: ""}), polkit.ACTIONS[0]) == "wrong"


def test_a_unit_that_polkit_does_not_know_is_listed_with_those_that_were() -> None:
    one = some_repo(user="root")
    assert verdict(polkit.judge_listed(one, [], "")) == "ok"
    written = 'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat(["db.service", "web@1.service"]);'
    found = polkit.judge_listed(one, ["web.service"], written)
    assert '["web.service", "db.service", "web@1.service"]' in found.mend
    assert "/etc/polkit-1/rules.d/40-tinyci-web.rules" in found.mend


def test_room() -> None:
    place, mib = space.Place("/x/y", "jobs", 100 * 1024 * 1024), 1024 * 1024
    assert verdict(space.judge(place, 100 * mib, 5000, "/x")) == "ok"
    assert verdict(space.judge(place, 100 * mib, -1, "/x")) == "ok", "a file system without a limit of files"
    assert verdict(space.judge(place, 99 * mib, 5000, "/x"), "99 MiB", "/x/y") == "wrong"
    assert verdict(space.judge(place, 100 * mib, 3, "/x"), "3 files") == "wrong"


# -- a user ---------------------------------------------------------------------------------------------------------


def test_subordinate_ids() -> None:
    good = "other:100000:65536\nweb:165536:65536\n"
    assert verdict(user.judge_ids("web", 7, good, good)) == "ok"
    assert verdict(user.judge_ids("web", 7, "7:165536:65536", good)) == "ok", "by uid, as subuid(5) allows"
    found = user.judge_ids("web", 7, "web:1:1000", good)
    assert verdict(found, "/etc/subuid") == "wrong" and "/etc/subgid" not in found.sentence
    assert "--add-subuids 983040-1048575 web" in found.mend
    both = user.judge_ids("web", 7, "", "# nothing\n\nweb:x:y\n")
    assert "--add-subuids 983040-1048575 --add-subgids 983040-1048575" in both.mend


def test_a_free_range_is_nobodys() -> None:
    first = 524288 + 7 * user.COUNT
    assert user.free_range(7, []) == first
    assert user.free_range(7, [("a", first - 1, 2)]) == first + 1
    taken = [("a", first, user.COUNT), ("b", first + user.COUNT, 10)]
    assert user.free_range(7, taken) == first + user.COUNT + 10


def test_a_home() -> None:
    assert verdict(user.judge_home("web", "web", "/h", File("web", "web", 0o700, True))) == "ok"
    assert verdict(user.judge_home("web", "web", "/h", None), "missing") == "wrong"
    assert verdict(user.judge_home("web", "web", "/h", File("root", "root", 0o755, True)), "755 root:root") == "wrong"
    assert verdict(user.judge_home("web", "web", "/h", File("web", "web", 0o500, True))) == "wrong"


def test_a_runtime_directory() -> None:
    good = File("web", "web", 0o700, True)
    assert verdict(user.judge_runtime_directory("web", 7, good, has_bus=True, has_package=True)) == "ok"
    assert "user-runtime-dir@7" in user.judge_runtime_directory("web", 7, None, has_bus=False, has_package=True).mend
    assert "user@7.service" in user.judge_runtime_directory("web", 7, good, has_bus=False, has_package=True).mend
    assert "dbus-user-session" in user.judge_runtime_directory("web", 7, good, has_bus=False, has_package=False).mend


@pytest.mark.parametrize(
    ("done", "is_installed", "foreign", "mend"),
    [
        (WELL, True, "", None),
        (WELL, False, "", f"{packages.install('podman')} "),
        (
            CommandResult(125, "", 'Error: exec: "newgidmap": executable file not found'),
            True,
            "",
            packages.again("uidmap"),
        ),
        (
            CommandResult(125, "", 'using "/usr/bin/newuidmap": should have setuid or'),
            True,
            "",
            packages.again("uidmap"),
        ),
        (CommandResult(125, "", "Error: newuidmap: write to uid_map failed: Invalid argument"), True, "", ""),
        (CommandResult(1, "", "cannot set user namespace"), True, "", "rm /run/user/7/libpod/tmp/pause.pid"),
        (
            CommandResult(125, "", "Error: permission denied"),
            True,
            "/h/.local",
            "chown -R --no-dereference web: /h/.local",
        ),
        (CommandResult(125, "", "Error: something else"), True, "", ""),
    ],
)
def test_podman(done: CommandResult, foreign: str, mend: str | None, *, is_installed: bool) -> None:
    found = user.judge_podman("web", 7, "/h", done, is_installed=is_installed, foreign_file=foreign)
    assert (verdict(found) == "ok") == (mend is None)
    assert found.mend.startswith(mend or "")
    assert bool(found.mend) == bool(mend)


def test_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "RELEASE", str(tmp_path))
    assert not user.judge_stages("web", CommandResult(1, "", "No module named tinyci")).mend, "there is no wheel"
    (tmp_path / "tinyci.whl").touch()
    assert verdict(user.judge_stages("web", WELL)) == "ok"
    closed = user.judge_stages("web", CommandResult(127, "", "/opt/tinyci/bin/python3: Permission denied"))
    assert closed.mend == "chmod -R go+rX /opt/tinyci"
    assert "pip install" in user.judge_stages("web", CommandResult(1, "", "No module named tinyci")).mend


def test_a_gates_filter() -> None:
    good = ["/usr/bin/xdg-dbus-proxy", "unix:path=/run/user/7/bus", "/run/tinyci-gate/7/bus", "--filter", *gate.PASSES]
    assert verdict(gate.judge_filter(7, good, "")) == "ok"
    wide = [*good, "--talk=org.freedesktop.systemd1"]
    assert verdict(gate.judge_filter(7, wide, "mend"), "--talk=") == "wrong"
    for words in ([word for word in good if word != "--filter"], good[:3]):
        assert verdict(gate.judge_filter(7, words, ""), "everything") == "wrong"
    assert verdict(gate.judge_filter(7, [word for word in good if "StartUnit" not in word], ""), "StartUnit") == "wrong"


def test_what_came_through_a_gate() -> None:
    denied = "org.freedesktop.DBus.Error.AccessDenied"
    assert verdict(gate.judge_tried(7, "", denied)) == "ok"
    assert verdict(gate.judge_tried(7, denied, denied), "does not come through") == "wrong"
    assert verdict(gate.judge_tried(7, "", "org.freedesktop.DBus.Error.InvalidArgs"), "passed") == "wrong"


def test_a_journals_rate() -> None:
    assert verdict(journal.judge_user("web", 7, 1e8, 1e8, [], has_ours=True)) == "ok"
    assert journal.judge_user("web", 7, 333.0, 1e8, [], has_ours=True).mend == "systemctl restart user@7.service"
    spoiled = journal.judge_user("web", 7, 333.0, 333.0, ["/etc/x.conf"], has_ours=True)
    assert spoiled.mend.startswith("rm /etc/x.conf && ")
    assert spoiled.mend.endswith("systemctl restart user@7.service")
    assert verdict(journal.judge_root({**ACTIVE}, [])) == "ok"
    assert verdict(journal.judge_root({**ACTIVE, "LogRateLimitBurst": "0"}, ["/a"])) == "wrong"
    assert journal.rate(0, 0) < journal.LEAST < journal.rate(1, 100_000_000)


# -- a repo ---------------------------------------------------------------------------------------------------------


def test_a_repository() -> None:
    directory = File("git", "web", 0o2750, True)
    assert verdict(repository.judge_there("/r", "web", [], directory)) == "ok"
    assert "--group=web" in repository.judge_there("/r", "web", ["HEAD"], None).mend
    spoiled = repository.judge_there("/r", "web", ["HEAD"], directory)
    assert verdict(spoiled, "HEAD") == "wrong" and not spoiled.mend, "what was in it, a person knows"


def test_a_repositorys_rights() -> None:
    assert verdict(repository.judge_readable("/r", "web", "web", WELL)) == "ok"
    assert (
        verdict(repository.judge_readable("/r", "web", "web", CommandResult(0, "/r/objects/a\n", "")), "objects/a")
        == "wrong"
    )
    assert (
        verdict(repository.judge_readable("/r", "web", "web", CommandResult(1, "", "find: denied")), "denied")
        == "wrong"
    )
    assert verdict(repository.judge_readable("/r", "web", "web", CommandResult(124, "", "late"))) == "unchecked"
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
    found = units.judge_unit("web", "web.service", {**ACTIVE, **changed}, quadlet, complaint)
    assert (verdict(found, complaint) == "ok") == (mend is None)
    assert found.mend == (f"systemctl --user -M web@ {mend}" if mend else "")


def test_what_podmans_generator_says() -> None:
    made = CommandResult(
        1, "---a.service---\n[Unit]\n", 'quadlet-generator[7]: converting "b.container": unsupported key\n'
    )
    assert units.generator_complaint(made, "a.service", "/q/a.container") == ""
    assert units.generator_complaint(made, "b.service", "/q/b.container") == 'converting "b.container": unsupported key'
    assert "nothing" in units.generator_complaint(made, "c.service", "/q/c.container")


def test_templates_and_limits() -> None:
    three = [ACTIVE] * 3
    assert verdict(units.judge_stages("web", three)) == "ok"
    assert verdict(units.judge_stages("web", [{**ACTIVE, "LoadState": "masked"}, *three[1:]]), "masked") == "wrong"
    assert verdict(units.judge_stages("web", [*three[1:], {**ACTIVE, "LoadState": "not-found"}])) == "wrong"
    assert verdict(units.judge_limit(some_repo(), ACTIVE)) == "ok"
    assert verdict(units.judge_limit(some_repo(), {**ACTIVE, "TimeoutStartUSec": "infinity"})) == "ok"
    short = units.judge_limit(some_repo(), {**ACTIVE, "TimeoutStartUSec": "1min 30s"})
    assert (
        verdict(short, "1min 30s", "30min") == "wrong" and "TimeoutStartSec=%s" in short.mend and "40min" in short.mend
    )


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


FINDINGS = [
    *of("host", [ok("a", "is so"), unchecked("b")]),
    *of(
        "user web", [wrong(Problem.REDIS_MEMORY_EVICTS, "is not\nso", "mend it"), wrong(Problem.USER_MISSING, "decide")]
    ),
]


def test_a_report_for_a_pipe_has_one_line_for_each() -> None:
    assert list(doctorreport.plain(FINDINGS)) == [
        "ok\thost\ta\tis so\t",
        "unchecked\thost\tb\tneeds root\t",
        "wrong\tuser web\tredis-memory\tis not so\tmend it",
        "wrong\tuser web\tuser\tdecide\t",
    ]


def test_a_report_as_json() -> None:
    told = json.loads(json.dumps(doctorreport.as_object(FINDINGS)))
    assert told["healthy"] is False
    assert told["findings"][2] == {
        "about": "user web",
        "check": "redis-memory",
        "problem": "redis-memory/evicts",
        "verdict": "wrong",
        "sentence": "is not\nso",
        "mend": "mend it",
    }


def test_a_report_for_a_person_has_each_mend_on_a_line_of_its_own() -> None:
    lines = list(doctorreport.table(FINDINGS, everything=False, colours=True))
    assert "    mend it" in lines
    assert any("for a person to decide" in line for line in lines)
    assert any("\x1b[31mredis-memory\x1b[0m (user web): is not so." in line for line in lines)
    assert "1 checks need root" in lines[-1]
    assert list(doctorreport.table(FINDINGS[:1], everything=False, colours=False))[-1] == "All is well."


def test_only_what_is_wrong_is_unhealthy() -> None:
    assert doctorreport.is_healthy(FINDINGS[:2])
    assert not doctorreport.is_healthy(FINDINGS)


def test_properties() -> None:
    assert parse_properties("A=b\nC=d=e\n\nnothing\n") == {"A": "b", "C": "d=e"}


def test_what_a_program_said_reaches_no_terminal_as_it_is() -> None:
    (line,) = doctorreport.plain([wrong(Problem.USER_MISSING, "it said \x1b]0;x\x07")])
    assert "\x1b" not in line and "\\x1b" in line
    assert "\x1b" not in "\n".join(
        doctorreport.table([wrong(Problem.USER_MISSING, "it said \x1b]0;x\x07")], everything=True, colours=False)
    )
