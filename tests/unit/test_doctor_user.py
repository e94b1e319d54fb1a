"""Findings of doctor on a user: home, ids, podman, the gate, the limits of the journal."""

from pathlib import Path

import pytest
from doctorfacts import ACTIVE, WELL, verdict
from tinyci.doctor import (
    files,
    gate,
    journal,
    packages,
    user,
)
from tinyci.doctor.system import CommandResult, File


def test_subordinate_ids() -> None:
    good = "other:100000:65536\nweb:165536:65536\n"
    assert verdict(user.judge_ids("web", 7, good, good)) == "ok"
    assert verdict(user.judge_ids("web", 7, "7:165536:65536", good)) == "ok", "by uid, as subuid(5) allows"
    finding = user.judge_ids("web", 7, "web:1:1000", good)
    assert verdict(finding, "/etc/subuid") == "wrong" and "/etc/subgid" not in finding.sentence
    assert "--add-subuids 983040-1048575 web" in finding.mend
    both = user.judge_ids("web", 7, "", "# nothing\n\nweb:x:y\n")
    assert "--add-subuids 983040-1048575 --add-subgids 983040-1048575" in both.mend


def test_a_free_range_is_nobodys() -> None:
    first = 524288 + 7 * user.COUNT
    assert user.free_range(7, []) == first
    assert user.free_range(7, [("a", first - 1, 2)]) == first + 1
    ranges = [("a", first, user.COUNT), ("b", first + user.COUNT, 10)]
    assert user.free_range(7, ranges) == first + user.COUNT + 10


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
    ("result", "is_installed", "foreign_file", "mend"),
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
def test_podman(result: CommandResult, *, is_installed: bool, foreign_file: str, mend: str | None) -> None:
    finding = user.judge_podman("web", 7, "/h", result, is_installed=is_installed, foreign_file=foreign_file)
    assert (verdict(finding) == "ok") == (mend is None)
    assert finding.mend.startswith(mend or "")
    assert bool(finding.mend) == bool(mend)


def test_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "RELEASE", str(tmp_path))
    assert not user.judge_stages("web", CommandResult(1, "", "No module named tinyci")).mend, "there is no wheel"
    (tmp_path / "tinyci.whl").touch()
    assert verdict(user.judge_stages("web", WELL)) == "ok"
    finding = user.judge_stages("web", CommandResult(127, "", "/opt/tinyci/bin/python3: Permission denied"))
    assert finding.mend == "chmod -R go+rX /opt/tinyci"
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
    error = "org.freedesktop.DBus.Error.AccessDenied"
    assert verdict(gate.judge_tried(7, "", error)) == "ok"
    assert verdict(gate.judge_tried(7, error, error), "does not come through") == "wrong"
    assert verdict(gate.judge_tried(7, "", "org.freedesktop.DBus.Error.InvalidArgs"), "passed") == "wrong"


def test_a_journals_rate() -> None:
    assert verdict(journal.judge_user("web", 7, 1e8, 1e8, [], has_ours=True)) == "ok"
    assert journal.judge_user("web", 7, 333.0, 1e8, [], has_ours=True).mend == files.RATE
    finding = journal.judge_user("web", 7, 333.0, 333.0, ["/etc/x.conf"], has_ours=True)
    assert finding.mend.startswith("rm /etc/x.conf && ")
    assert finding.mend.endswith(files.RATE)
    assert verdict(journal.judge_user("web", 7, 1e8, 1e8, ["/etc/x.conf"], has_ours=False)) == "ok"
    for running in (1e8, 333.0):  # a global drop-in of an earlier version's may still be there
        finding = journal.judge_user("web", 7, running, 1e8, [], has_ours=False)
        assert verdict(finding, "has no /etc/systemd/system/user@7.service.d/50-tinyci.conf", " 333 ") == "wrong"
    assert verdict(journal.judge_host([])) == "ok"
    assert verdict(journal.judge_host(["/a", "/b"]), "without a gate", "by /a, /b") == "wrong"
    assert verdict(journal.judge_root({**ACTIVE}, [])) == "ok"
    assert verdict(journal.judge_root({**ACTIVE, "LogRateLimitBurst": "0"}, ["/a"])) == "wrong"
    assert journal.rate(0, 0) < journal.LEAST < journal.rate(1, 100_000_000)
