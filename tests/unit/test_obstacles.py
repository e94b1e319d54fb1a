"""What keeps a unit from being restarted is found before anything is restarted."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tinyci.model import repo
from tinyci.systemd import obstacles
from tinyci.systemd.manager import ManagerError
from tinyci.systemd.obstacles import ObstacleError
from tinyci.systemd.unit import Unit


class FakeManagers:
    """Managers with these units, as properties by user and name; `started` is what was asked to start."""

    def __init__(self, units: dict[tuple[str, str], dict[str, Any]], *, may_start: bool = True) -> None:
        self._units = units
        self._user = ""
        self._may_start = may_start
        self.started: list[str] = []

    async def ask(self, user: str, question: Callable[[Any], Awaitable[Any]]) -> Any:
        self._user = user
        return await question(self)

    async def unit(self, name: str) -> Unit:
        properties = self._units.get((self._user, name), {"LoadState": "not-found"})
        return Unit.parse(name, "/", {"LoadState": "loaded", **properties})

    async def start(self, name: str) -> str:
        if not self._may_start:
            raise ManagerError("polkit does not let tinyci start it")
        self.started.append(name)
        return "/job/1"

    async def wait_for_job(self, name: str, job: str) -> str:
        properties = self._units[self._user, name]
        properties |= properties.get("then", {})
        return "done"


async def obstacle(managers: FakeManagers, user: str = "web") -> str:
    """Return the sentence on what is in the way of a repo of that user; empty when nothing is."""
    text = f'repository = "/srv/git/web.git"\nuser = "{user}"\nunits = ["web.service"]\n'
    try:
        await obstacles.check(repo.parse("web.toml", text), managers)  # type: ignore[arg-type]
    except ObstacleError as error:
        return f"{error} [{error.unit}]" if error.unit else str(error)
    return ""


PODMAN = {"User": "web", "ExecStart": [["/usr/bin/podman", ["/usr/bin/podman", "run", "web"], False]]}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("user", "units", "sentence"),
    [
        ("web", {("web", "web.service"): {}}, ""),
        (
            "web",
            {("web", "web.service"): {"NeedDaemonReload": True}},
            "web.service has changed on disk since its manager read it, and would be restarted as it was before: "
            "systemctl --user -M web@ daemon-reload, then 'tinyci retry web'",
        ),
        ("web", {}, "the manager of web has no unit web.service (not-found): correct 'units' in the repo's file"),
        ("web", {("root", "web.service"): PODMAN}, "web.service is a unit of the system's manager, with User=web, and"),
        ("web", {("root", "web.service"): {}}, "web.service is a unit of the system's manager, and a repo of web"),
        ("root", {("root", "web.service"): PODMAN}, "web.service runs podman as web (User=), who does not have the"),
        ("root", {("root", "web.service"): {**PODMAN, "User": "root"}}, ""),
        ("root", {("root", "web.service"): {**PODMAN, "ExecStart": [["/usr/bin/web", ["/usr/bin/web"]]]}}, ""),
        (
            "web",
            {("web", "web.service"): {"Requires": ["db.service"]}},
            "web.service requires db.service, which its manager cannot start (not-found)",
        ),
    ],
)
async def test_a_unit_that_cannot_be_restarted_is_named(
    user: str, units: dict[tuple[str, str], dict[str, Any]], sentence: str
) -> None:
    text = await obstacle(FakeManagers(units), user)
    assert text.startswith(sentence)
    assert bool(text) == bool(sentence)


FAILED = {"ActiveState": "failed", "Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 2}


@pytest.mark.asyncio
@pytest.mark.parametrize("then", ["active", "failed"])
@pytest.mark.parametrize("may_start", [True, False])
async def test_a_required_unit_that_failed_is_started_first(then: str, may_start: bool) -> None:  # noqa: FBT001
    db = {**FAILED, "then": {"ActiveState": then}}
    web = {"Requires": ["db.service"], "ActiveState": "active"}
    managers = FakeManagers({("web", "web.service"): web, ("web", "db.service"): db}, may_start=may_start)
    text = await obstacle(managers)
    assert managers.started == ["db.service"] * may_start
    if not may_start or then == "active":  # what the daemon may not start, systemd does with the restart
        assert text == ""
    else:
        assert text == (
            "web.service requires db.service, which has failed: its main process exited with status 2; nothing was "
            "restarted: mend it, 'systemctl --user -M web@ reset-failed db.service' and 'systemctl --user -M web@ "
            "start db.service', then 'tinyci retry web' [db.service]"
        )
