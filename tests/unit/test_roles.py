"""Variables of the roles: described, and one for each key of a repo's file."""

import re
from pathlib import Path

import pytest
from tinyci.model.repo import Repo

ROLES = Path(__file__).resolve().parents[2] / "ansible/roles"
INTERNAL = {"app_repo_keys"}


def variables(role: str) -> set[str]:
    return set(re.findall(r"^(\w+):", (ROLES / role / "defaults/main.yml").read_text(), re.M)) - INTERNAL


def options(role: str) -> set[str]:
    return set(re.findall(r"^      (\w+):$", (ROLES / role / "meta/argument_specs.yml").read_text(), re.M))


def test_each_key_of_a_repo_can_be_set_by_the_role() -> None:
    (names,) = re.findall(r"^app_repo_keys: \[(.*)\]$", (ROLES / "app/defaults/main.yml").read_text(), re.M)
    # These three always stand in the file.
    assert {*names.split(", "), "repository", "user", "units"} == set(Repo._fields) - {"name"}
    assert {f"app_{name}" for name in names.split(", ")} <= variables("app")


@pytest.mark.parametrize("role", sorted(path.parents[1].name for path in ROLES.glob("*/defaults/main.yml")))
def test_each_variable_of_a_role_is_described(role: str) -> None:
    assert variables(role) <= options(role)
