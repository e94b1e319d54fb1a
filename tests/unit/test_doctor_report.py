"""Reports of doctor: for a terminal, for a pipe, and as JSON."""

import json

from tinyci.cli import doctorreport
from tinyci.doctor.finding import of, ok, unchecked, wrong
from tinyci.doctor.problems import Problem

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
    report = json.loads(json.dumps(doctorreport.as_object(FINDINGS)))
    assert report["healthy"] is False
    assert report["findings"][2] == {
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


def test_what_a_program_said_reaches_no_terminal_as_it_is() -> None:
    (line,) = doctorreport.plain([wrong(Problem.USER_MISSING, "it said \x1b]0;x\x07")])
    assert "\x1b" not in line and "\\x1b" in line
    assert "\x1b" not in "\n".join(
        doctorreport.table([wrong(Problem.USER_MISSING, "it said \x1b]0;x\x07")], everything=True, colours=False)
    )
