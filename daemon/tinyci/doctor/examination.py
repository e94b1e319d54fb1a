"""A whole examination: of the host, or of one repo or user with the host beneath it."""

import asyncio
from collections.abc import Coroutine

from tinyci.doctor import (
    accounts,
    code,
    configuration,
    daemon,
    files,
    gate,
    journal,
    polkit,
    redis,
    repository,
    space,
    spool,
    units,
    user,
)
from tinyci.doctor.configuration import ETC, Configuration
from tinyci.doctor.finding import Finding, of
from tinyci.doctor.system import System, user_entry
from tinyci.model.repo import Repo


class NoSuchSubjectError(Exception):
    """The repo or user to examine does not exist; one sentence."""


def subjects(
    name: str, repos: dict[str, Repo], errors: dict[str, str], *, is_user: bool
) -> tuple[list[Repo], list[str]]:
    """The repos and users of that name, all for an empty name. Raises NoSuchSubjectError."""
    chosen_repos = [one for one in repos.values() if name in ("", one.name, one.user)]
    users = list(dict.fromkeys(one.user for one in chosen_repos))
    if name and not chosen_repos and is_user:
        users = [name]
    elif name and not chosen_repos and f"{ETC}/repos.d/{name}.toml" not in errors:
        raise NoSuchSubjectError(
            f"there is no repo and no user {name}: the repos are {', '.join(sorted(repos)) or 'none'}"
        )
    return chosen_repos, users


async def examine(name: str) -> list[Finding]:
    """Return all findings, causes before their consequences. Raises NoSuchSubjectError."""
    config = Configuration()
    repos, users = subjects(name, config.repos, config.errors, is_user=user_entry(name) is not None)
    system = System()
    try:
        return await _together(
            _host(system, config),
            *(_user(system, name) for name in users),
            *(_repo(system, one) for one in repos),
        )
    finally:
        await system.close()


async def _host(system: System, config: Configuration) -> list[Finding]:
    findings = [*files.look(system), *code.look(), *accounts.look(), *configuration.look(system, config)]
    findings += journal.look_at_host(system, config)
    findings += space.look(system, space.HOST)
    findings += await _together(
        daemon.look_at_bus(system),
        redis.look(system, config.settings.redis_socket),
        spool.look(system),
        polkit.look(system),
        daemon.look(system),
    )
    return of("host", findings)


async def _user(system: System, name: str) -> list[Finding]:
    parts = [user.look(system, name), gate.look(system, name)]
    if entry := user_entry(name):
        parts.append(journal.look(system, name, entry.pw_uid))
    findings = await _together(*parts)
    if entry:
        findings += space.look(system, space.of_user(entry.pw_dir, entry.pw_uid))
    return of(f"user {name}", findings)


async def _repo(system: System, repo: Repo) -> list[Finding]:
    findings = await _together(
        repository.look(system, repo),
        units.look(system, repo),
        polkit.look_at(system, repo),
        daemon.look_at(system, repo.name),
    )
    return of(f"repo {repo.name}", findings)


async def _together(*parts: Coroutine[None, None, list[Finding]]) -> list[Finding]:
    """Run the parts at once; return their findings in this order."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
    return [finding for task in tasks for finding in task.result()]
