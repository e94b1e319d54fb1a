"""The command line of tests/host/host, which makes the hosts that tests run on."""

from argparse import Namespace
from pathlib import Path

import hostcommand
import pytest


def provision(*words: str) -> Namespace:
    return hostcommand.parse(["provision", *words])


@pytest.mark.parametrize(
    "words",
    [
        ("--inventory", "other.yml", "demo", "--tags", "git", "-v"),
        ("demo", "--inventory", "other.yml", "--tags", "git", "-v"),
        ("demo", "--tags", "git", "--inventory=other.yml", "-v"),
        ("demo", "--tags", "git", "-v", "-i", "other.yml"),
        ("-i", "another.yml", "demo", "--tags", "git", "-v", "-i", "other.yml"),
    ],
)
def test_a_host_is_provisioned_from_one_inventory(words: tuple[str, ...]) -> None:
    options = provision(*words)
    assert options.name == "demo"
    assert options.inventory == Path("other.yml")
    assert options.arguments == ["--tags", "git", "-v"]


def test_a_host_is_provisioned_from_the_tests_inventory_by_default() -> None:
    options = provision("demo", "--check")
    assert options.inventory == hostcommand.INVENTORY
    assert options.arguments == ["--check"]


def test_an_inventory_that_is_not_named_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        provision("demo", "--inventory")
    assert "expected one argument" in capsys.readouterr().err


def test_two_dashes_may_stand_before_the_arguments() -> None:
    assert provision("demo", "--", "--check").arguments == ["--check"]
    assert hostcommand.parse(["exec", "demo", "--", "sh", "-c", "exit 3"]).arguments == ["sh", "-c", "exit 3"]
