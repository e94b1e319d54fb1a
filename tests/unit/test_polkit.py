"""polkit lets tinyci do with the system's units what it must, and nothing else.

The rules run in Duktape, the engine of Debian's polkit, with as much of `polkit` as they use.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

RULES = Path(__file__).parents[2] / "polkit" / "50-tinyci.rules"
MANAGE = "org.freedesktop.systemd1.manage-units"
HEX = "0d313b1ecca811ec8c5967453021b8a9"
BUILD = f"tinyci-build@{HEX}.service"
LISTED = "container-web.service"

LIST = f'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat(["{LISTED}", "web@1.service"]);'
BEFORE = """
var rules = [];
var polkit = {
    Result: {NO: "no", YES: "yes", NOT_HANDLED: "not handled"},
    addRule: function (rule) { rules.push(rule); }
};
"""
AFTER = """
print(JSON.stringify(QUESTIONS.map(function (question) {
    var action = {id: question.id, lookup: function (key) { return question.details[key]; }};
    return rules.length === 1 ? rules[0](action, question.subject) : rules.length + " rules";
})));
"""


def answers(questions: Iterable[dict[str, Any]], tmp_path: Path, lists: str = LIST) -> list[str]:
    """Return the rules' answer to each question; `lists` stands for the admin's files, which polkitd reads before."""
    engine = shutil.which("duk")
    assert engine, "the Debian package duktape is not installed: run tests/prepare"
    script = tmp_path / "rules.js"
    script.write_text(f"{BEFORE}{lists}\n{RULES.read_text()}\nvar QUESTIONS = {json.dumps(list(questions))};{AFTER}")
    run = subprocess.run([engine, script], capture_output=True, text=True, timeout=10)
    assert run.returncode == 0, run.stderr + run.stdout
    return list(json.loads(run.stdout))


def question(unit: str | None, verb: str | None, id: str = MANAGE, **subject: object) -> dict[str, Any]:
    details = {key: value for key, value in (("unit", unit), ("verb", verb)) if value is not None}
    return {"id": id, "details": details, "subject": {"user": "tinyci", **subject}}


ALLOWED = [
    *(
        question(f"tinyci-{stage}@{HEX}.service", verb)
        for stage in ("build", "verify", "rollback")
        for verb in ("start", "stop", "reset-failed")
    ),
    question(LISTED, "restart"),
    question(LISTED, "reset-failed"),
    question("web@1.service", "restart"),
    question(BUILD, "start", system_unit="tinyci.service"),
    question(LISTED, "restart", system_unit="tinyci.service"),
]

REFUSED = [
    # other verbs, of which some would be root
    *(question(BUILD, verb) for verb in ("restart", "reload", "kill", "set-property", "clean", "ref", "", None)),
    *(question(LISTED, verb) for verb in ("start", "stop", "reload", "kill", "set-property", "try-restart", "", None)),
    # a name that has no unit file could be a transient unit
    *(
        question(unit, "start")
        for unit in (
            f"tinyci-build@{HEX}.socket",
            f"tinyci-build@{HEX}.scope",
            f"tinyci-build@{HEX}.timer",
            f"tinyci-build@{HEX}",
            f"tinyci-build@{HEX}.service.socket",
            f"tinyci-build@{HEX}.service\n",
            f"tinyci-build@{HEX}.service ",
            f"\ntinyci-build@{HEX}.service",
            f"evil\ntinyci-build@{HEX}.service",
            f"xtinyci-build@{HEX}.service",
            f"tinyci-build@{HEX}xservice",
            f"tinyci-build@{HEX}0.service",
            f"tinyci-build@{HEX[1:]}.service",
            f"tinyci-build@{HEX.upper()}.service",
            f"tinyci-evil@{HEX}.service",
            f"tinyci-build-evil@{HEX}.service",
            f"TINYCI-BUILD@{HEX}.service",
            "tinyci-build@../x.service",
            "tinyci-build@.service",
            "tinyci-build.service",
            "tinyci.service",
            "ssh.service",
            "",
            None,
        )
    ),
    # what the admin did not list
    *(
        question(unit, "restart")
        for unit in (
            "ssh.service",
            "container-web.socket",
            "container-web",
            "container-web.service.service",
            "xcontainer-web.service",
            "container-web.service\n",
            "Container-web.service",
            "web@2.service",
            "web@.service",
            "tinyci.service",
            "0",
            "length",
            "indexOf",
            "",
            None,
        )
    ),
    # other people
    *(question(BUILD, "start", user=user) for user in ("git", "root", "Tinyci", "tinyci2", "")),
    *(question(LISTED, "restart", user=user) for user in ("git", "www-data")),
    # other units of the same user, where polkit (126 and later) says which one asks
    *(
        question(BUILD, "start", system_unit=unit)
        for unit in ("tinyci-web.service", BUILD, "tinyci.service.evil", "", None)
    ),
    question(LISTED, "restart", system_unit="ssh.service"),
    # other actions, of which manage-unit-files implies manage-units
    *(
        question(BUILD, "start", id=action)
        for action in (
            "org.freedesktop.systemd1.manage-unit-files",
            "org.freedesktop.systemd1.reload-daemon",
            "org.freedesktop.systemd1.set-environment",
            "org.freedesktop.systemd1.manage-units2",
            "org.freedesktop.login1.set-user-linger",
            "",
        )
    ),
]


def test_tinyci_may_do_what_it_must(tmp_path: Path) -> None:
    refusals = [each for each, answer in zip(ALLOWED, answers(ALLOWED, tmp_path), strict=True) if answer != "yes"]
    assert not refusals


def test_everything_else_is_left_to_others(tmp_path: Path) -> None:
    pairs = zip(REFUSED, answers(REFUSED, tmp_path), strict=True)
    assert not [each for each, answer in pairs if answer != "not handled"]


def test_where_the_admin_listed_nothing_nothing_may_be_restarted(tmp_path: Path) -> None:
    questions = [question(LISTED, "restart"), question("undefined", "restart"), question(BUILD, "start")]
    assert answers(questions, tmp_path, lists="") == ["not handled", "not handled", "yes"]


def test_the_lists_of_several_files_add_up(tmp_path: Path) -> None:
    other = LIST.replace(LISTED, "other.service")
    questions = [question(unit, "restart") for unit in (LISTED, "other.service", "third.service")]
    assert answers(questions, tmp_path, lists=f"{LIST}\n{other}") == ["yes", "yes", "not handled"]


@pytest.mark.parametrize("newer", ["let x = 1;", "var f = () => 1;", "var s = `x`;"])
def test_the_engine_would_not_read_newer_javascript(tmp_path: Path, newer: str) -> None:
    with pytest.raises(AssertionError, match="SyntaxError"):
        answers([], tmp_path, lists=newer)
