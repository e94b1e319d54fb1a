"""Each failure that doctor knows is made to happen on purpose on a booted host, or is named here with why not.

Read from the source, so that a new failure without a breakage is found out.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TREE = Path(__file__).resolve().parents[2]
HOST = TREE / "tests/host"
SOURCES = (*sorted((TREE / "daemon/tinyci/doctor").glob("*.py")), TREE / "daemon/tinyci/daemon/diagnosis.py")
# Makers of findings, and which of their arguments are the check and the sentence.
MAKERS = {"wrong": (0, 1), "failure": (0, 1)}
# What gets its check as an argument, and where.
SERVICES = {"judge_enabled": 0, "look": 1}
HOLE, ANYTHING = "\0", "\1"


class Failure(NamedTuple):
    """A place in the source that says that something is wrong."""

    where: str
    check: str
    """Empty where it is an argument."""
    sentence: str
    """With a HOLE for each part that is not in the source there, or ANYTHING."""

    def is_said(self, check: str, words: str) -> bool:
        """Whether a finding of that name and with these words can be this one."""
        return (not self.check or matches(check, self.check)) and (words in self.sentence or self.sentence == ANYTHING)


def text(node: ast.expr, function: ast.AST, line: int) -> str:
    """What an expression says; a name is what was assigned to it last above that line."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part, function, line) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return text(node.value, function, line)
    if isinstance(node, ast.BinOp):
        return text(node.left, function, line) + text(node.right, function, line)
    if isinstance(node, ast.IfExp):
        return text(node.body, function, line) + HOLE + text(node.orelse, function, line)
    if isinstance(node, ast.BoolOp):
        return ANYTHING
    if isinstance(node, ast.Name):
        return assigned(node.id, function, line)
    return HOLE


def assigned(name: str, function: ast.AST, line: int) -> str:
    found = HOLE
    for each in sorted((n for n in ast.walk(function) if isinstance(n, ast.stmt)), key=lambda n: n.lineno):
        if each.lineno >= line:
            break
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name) and each.targets[0].id == name:
            found = text(each.value, function, each.lineno)
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Tuple):
            names = [target.id for target in each.targets[0].elts if isinstance(target, ast.Name)]
            if name in names and isinstance(each.value, ast.Tuple):
                found = text(each.value.elts[names.index(name)], function, each.lineno)
        elif isinstance(each, ast.AugAssign) and isinstance(each.target, ast.Name) and each.target.id == name:
            found += text(each.value, function, each.lineno)
    return found


def calls(*names: str) -> Iterator[tuple[str, ast.AST, ast.Call, str]]:
    """Where these are called: file and line, the function in which, the call, and the name."""
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call):
                        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
                        if name in names:
                            yield f"{path.name}:{call.lineno}", function, call, name


def failures() -> list[Failure]:
    found = []
    for where, function, call, name in calls(*MAKERS):
        check, sentence = (text(call.args[index], function, call.lineno) for index in MAKERS[name])
        if HOLE not in sentence or sentence.strip(HOLE):  # else it passes on what stands elsewhere
            found.append(Failure(where, "" if check == HOLE else check, sentence))
    return found


def checks() -> set[str]:
    """The names of all that can be wrong; with a HOLE for one of several."""
    services = {
        text(call.args[SERVICES[name]], function, call.lineno)
        for _, function, call, name in calls(*SERVICES)
        if len(call.args) > SERVICES[name]
    }
    return {each.check for each in failures() if each.check} | {name for name in services if name.strip(HOLE)}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Check and words of each failure that a test on a host makes."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(HOST))
    monkeypatch.syspath_prepend(str(HOST / "containers"))
    from decisions import DECISIONS
    from rounds import ROUNDS, SET_UP
    from unitbreaks import LISTED, UNITS

    rounds = (*ROUNDS.values(), *DECISIONS.values())
    all_of_them = (*SET_UP, *(each for one in rounds for each in one.broken), *UNITS, LISTED)
    yield [(each.check, each.says) for each in all_of_them]
    for name in set(sys.modules) - before:
        del sys.modules[name]


def matches(name: str, check: str) -> bool:
    begin, _, end = check.partition(HOLE)
    return name.startswith(begin) and name.endswith(end) if HOLE in check else name == check


def test_each_failure_is_made_to_happen_on_a_host(broken: list[tuple[str, str]]) -> None:
    left = [each for each in failures() if not any(each.is_said(name, says) for name, says in broken)]
    assert len(failures()) > 80
    assert not left


def test_each_check_is_made_to_fail_on_a_host(broken: list[tuple[str, str]]) -> None:
    names = {name for name, _ in broken}
    assert len(checks()) > 45
    assert {check for check in checks() if not any(matches(name, check) for name in names)} == set()


def test_each_check_is_described() -> None:
    page = (TREE / "daemon/man/tinyci-doctor.1.md").read_text()
    described = set(re.findall(r"\*\*([a-z-]+)\*\*", page))
    assert {check for check in checks() if check.partition(HOLE)[0] not in described} == set()


def test_no_host_test_waits_for_words_that_nothing_says(broken: list[tuple[str, str]]) -> None:
    known = failures()
    for name, says in broken:
        assert any(each.is_said(name, says) for each in known), (name, says)
