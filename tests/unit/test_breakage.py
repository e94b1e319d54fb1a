"""Tests on booted hosts make each problem happen that doctor knows, and wait for no other."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tinyci.doctor.daemon import SENTENCES
from tinyci.doctor.problems import REDIS_USERS, SERVICES, Problem, check_of

TREE = Path(__file__).resolve().parents[2]
HOST = TREE / "tests/host"
DOCTOR = TREE / "daemon/tinyci/doctor"
KEYS = frozenset(key for problem in Problem for key in problem.keys)


@pytest.fixture
def broken_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The key of each problem that a test on a host makes."""
    modules = set(sys.modules)
    monkeypatch.syspath_prepend(str(HOST))
    monkeypatch.syspath_prepend(str(HOST / "containers"))
    from decisions import DECISIONS
    from rounds import ROUNDS, SET_UP
    from unitbreaks import LISTED, UNITS

    rounds = (*ROUNDS.values(), *DECISIONS.values())
    breaks = (*SET_UP, *(each for one in rounds for each in one.breakages), *UNITS, LISTED)
    yield {each.problem for each in breaks}
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_each_problem_is_made_to_happen_on_a_host(broken_keys: set[str]) -> None:
    """A problem of several checks alike, such as a service that is masked, in one of them at least."""
    assert len(Problem) > 100
    assert [problem for problem in Problem if broken_keys.isdisjoint(problem.keys)] == []


def test_each_check_is_made_to_fail_on_a_host(broken_keys: set[str]) -> None:
    assert set(map(check_of, KEYS)) == set(map(check_of, broken_keys))


def test_no_host_test_waits_for_a_key_that_nothing_produces(broken_keys: set[str]) -> None:
    assert broken_keys - KEYS == set()


def test_each_problem_is_looked_for() -> None:
    text = "".join(path.read_text() for path in DOCTOR.glob("*.py") if path.name != "problems.py")
    assert {problem.name for problem in Problem} == set(re.findall(r"\bProblem\.([A-Z_]+)", text))


def test_a_key_is_one_problems() -> None:
    keys = [key for problem in Problem for key in problem.keys]
    assert len(keys) == len(KEYS)
    assert {check_of(key) for key in Problem.SERVICE_MASKED.keys} == set(SERVICES)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*/[a-z]+(-[a-z]+)*", key) for key in KEYS)


def test_each_check_is_described() -> None:
    page = (TREE / "daemon/man/tinyci-doctor.1.md").read_text()
    terms = re.findall(r"\*\*([a-z-]+)\*\*(USER)?", page)
    documented_checks = {f"{name}{user}" for name, suffix in terms for user in (REDIS_USERS if suffix else ("",))}
    assert set(map(check_of, KEYS)) - documented_checks == set()


def test_each_problem_that_the_daemon_finds_has_a_key() -> None:
    source = (TREE / "daemon/tinyci/daemon/diagnosis.py").read_text()
    assert source.count("Check.failure(") == len(SENTENCES)
    assert [beginning for beginning in SENTENCES.values() if beginning not in source] == []
