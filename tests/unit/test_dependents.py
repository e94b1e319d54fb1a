"""The units that depend on those of a repo are looked for within limits, whatever a manager says."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tinyci.model import repo
from tinyci.systemd import appunits
from tinyci.systemd.appunits import AppUnits
from tinyci.systemd.manager import ManagerError

REPO = repo.parse("web.toml", 'repository = "/srv/git/web.git"\nuser = "web"\nunits = ["web.service"]\n')
MOST = appunits._DEPENDENTS_MAX


class Answers:
    """Managers whose every unit has the dependents that a function of its name says."""

    def __init__(self, dependents: Callable[[str], tuple[str, ...]], delay: float = 0.0) -> None:
        self._dependents = dependents
        self._delay = delay

    async def ask(self, user: str, question: Callable[[Any], Awaitable[Any]]) -> Any:
        return await question(self)

    async def unit(self, name: str) -> Any:
        await asyncio.sleep(self._delay)
        return SimpleNamespace(is_up=True, dependents=self._dependents(name))


def units(dependents: Callable[[str], tuple[str, ...]], delay: float = 0.0) -> AppUnits:
    return AppUnits(REPO, Answers(dependents, delay))  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_dependents_of_dependents_are_found_once_each() -> None:
    tree = {"web.service": ("a.service", "b.service"), "a.service": ("b.service", "web.service")}
    assert await units(lambda name: tree.get(name, ())).active_dependents() == ["a.service", "b.service"]
    many = tuple(f"{number}.service" for number in range(MOST))
    assert len(await units(lambda name: many).active_dependents()) == MOST


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "dependents",
    [lambda name: (f"x{name}",), lambda name: tuple(f"{number}.service" for number in range(MOST + 1))],
    ids=["a chain without end", "many"],
)
async def test_a_manager_that_names_ever_more_units_is_not_followed(
    dependents: Callable[[str], tuple[str, ...]],
) -> None:
    with pytest.raises(
        ManagerError, match=f"^the service manager of web says that more than {MOST} units depend on web"
    ):
        await units(dependents).active_dependents()


@pytest.mark.asyncio
async def test_a_manager_that_answers_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appunits, "_DEPENDENTS_LIMIT", 0.05)
    with pytest.raises(ManagerError, match=r"^the service manager of web did not say within 0\.05s what"):
        await units(lambda name: (f"x{name}",), delay=0.02).active_dependents()
