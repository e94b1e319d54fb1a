"""The units of a repo, and the units of the stages, in their manager."""

import os
import sys
from collections.abc import Sequence

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import CommandResult, System, UnitProperties, user_entry
from tinyci.model import timespan
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import PROBES, ROLLBACK_LIMIT, STAGES, VERIFY_MARGIN
from tinyci.systemd import obstacles


def command(user: str) -> str:
    return "systemctl" if user == "root" else f"systemctl --user -M {user}@"


def judge_unit(
    user: str, name: str, unit: UnitProperties, quadlet: str, complaint: str, system_unit: UnitProperties | None = None
) -> Finding:
    """`quadlet`: the file that it is generated from, empty when there is none. `complaint`: of the generator about that
    file, empty when it makes the unit. `system_unit`: the system's of the same name, where the user has none."""
    systemctl = command(user)
    load = unit["LoadState"]
    if load == "masked":
        return wrong(Problem.UNIT_MASKED, f"{name} is masked, and cannot be restarted", f"{systemctl} unmask {name}")
    if load == "not-found" and system_unit and system_unit["LoadState"] == "loaded":
        return wrong(Problem.UNIT_OF_SYSTEM, obstacles.of_the_systems(name, user, system_unit.get("User", "")))
    if load == "not-found" and not quadlet:
        where = "/etc/systemd/system" if user == "root" else "/etc/systemd/user"
        text = f"there is no unit {name} for {user}: install its file, say in {where}, or take it out of 'units'"
        return wrong(Problem.UNIT_MISSING, text)
    if load == "not-found" and complaint:
        text = f"no unit {name} comes of {quadlet}: {complaint}; correct it, then {systemctl} daemon-reload"
        return wrong(Problem.UNIT_NOT_GENERATED, text)
    if load == "not-found":
        text = f"{quadlet} was not read since it was written, so there is no unit {name}"
        return wrong(Problem.UNIT_NOT_READ, text, f"{systemctl} daemon-reload")
    if load != "loaded":
        text = f"{name} cannot be loaded ({_reason(unit)}): correct what '{systemctl} cat {name}' shows"
        return wrong(
            Problem.UNIT_UNLOADABLE,
            f"{text}{f' (it comes of {quadlet})' if quadlet else ''}, then {systemctl} daemon-reload",
        )
    if unit["NeedDaemonReload"] == "yes":
        text = f"{name} has changed on disk, and a deploy would restart it as it was before"
        return wrong(Problem.UNIT_CHANGED, text, f"{systemctl} daemon-reload")
    runs_as = unit.get("User", "")
    if user == "root" and obstacles.runs_podman_as_user(runs_as, [unit.get("ExecStart", "")]):
        return wrong(Problem.UNIT_WITHOUT_IMAGES, obstacles.without_images(name, runs_as))
    return ok("unit", f"{name} is known to its manager")


def _reason(unit: UnitProperties) -> str:
    return unit["LoadError"].partition(" ")[2].strip('"') or unit["LoadState"]


def judge_stages(user: str, stages: Sequence[UnitProperties]) -> Finding:
    """`stages`: the instances PROBES."""
    systemctl, folder = command(user), files.UNITS if user == "root" else files.USER_UNITS
    for template, unit in zip(files.STAGES, stages, strict=True):
        if unit["LoadState"] == "masked":
            text = f"{template} is masked in the manager of {user}: nothing can be deployed"
            return wrong(Problem.TEMPLATES_MASKED, text, f"{systemctl} unmask {template}")
        if unit["LoadState"] != "loaded":
            reload = f"{systemctl} daemon-reload"
            restore = files.restore(f"{folder}/{template}", then=reload)
            if unit["LoadState"] == "not-found":
                text = f"the manager of {user} does not know {template}: nothing can be deployed"
                is_there = os.path.exists(f"{folder}/{template}")
                return wrong(Problem.TEMPLATES_UNKNOWN, text, reload if is_there else restore)
            text = f"the manager of {user} cannot load {template} ({_reason(unit)}): nothing can be deployed"
            if unit["DropInPaths"]:
                text += f"; correct what '{systemctl} cat {template}' shows, then {reload}"
                return wrong(Problem.TEMPLATES_MISCONFIGURED, text)
            return wrong(Problem.TEMPLATES_UNLOADABLE, text, restore)
        if unit["NeedDaemonReload"] == "yes":
            text = f"{template} has changed on disk, and the manager of {user} goes by what it was before"
            return wrong(Problem.TEMPLATES_CHANGED, text, f"{systemctl} daemon-reload")
    return ok("templates", f"the manager of {user} knows tinyci's stages")


def judge_limit(repo: Repo, stage: str, unit: UnitProperties) -> Finding:
    """`unit`: an instance of the template of that stage."""
    goal = {
        "build": (repo.timeout, f"the {timespan.show(repo.timeout)} of the repo's 'timeout'"),
        "verify": (
            repo.settle + repo.verify_timeout + VERIFY_MARGIN,
            f"the {timespan.show(repo.settle + repo.verify_timeout)} of the repo's 'settle' and 'verify_timeout'",
        ),
        "rollback": (ROLLBACK_LIMIT, f"the {timespan.show(ROLLBACK_LIMIT)} that tinyci gives it"),
    }
    least, whose = goal[stage]
    well = ok(f"{stage}-limit", f"nothing but tinyci's own limit ends a {stage}")
    try:
        limit = timespan.parse(unit.get("TimeoutStartUSec", ""))
    except ValueError:  # infinity
        return well
    if limit >= least:
        return well
    directory = f"/etc/systemd/{'system' if repo.is_root else 'user'}/tinyci-{stage}@.service.d"
    text = f"tinyci-{stage}@.service ends a {stage} after {timespan.show(limit)}, before {whose} are over"
    write = f"printf '[Service]\\nTimeoutStartSec=%s\\n' '{timespan.show(least + 600)}' >{directory}/zz-timeout.conf"
    mend = f"mkdir -p {directory} && {write} && {command(repo.user)} daemon-reload"
    return wrong(Problem.STAGE_LIMIT_SHORT, text, mend, name=stage)


async def look(system: System, repo: Repo) -> list[Finding]:
    """Judge the units of one repo, and the stages in its user's manager."""
    names = ("unit", "unit-containers", "templates", *(f"{stage}-limit" for stage in STAGES))
    if not system.may_be(repo.user) and not repo.is_root:
        return [unchecked(name) for name in names]
    entry = user_entry(repo.user)
    if entry is None:
        return []
    properties = await system.units(*PROBES, *repo.units, user=repo.user)
    if not properties[0]:
        return [unchecked(name, f"the manager of {repo.user} does not answer") for name in names]
    stages, units = properties[:3], properties[3:]
    limits = [judge_limit(repo, stage, unit) for stage, unit in zip(STAGES, stages, strict=True)]
    findings = [judge_stages(repo.user, stages), *limits]
    for name, unit in zip(repo.units, units, strict=True):
        quadlet = _quadlet(name, repo.user, entry.pw_uid, entry.pw_dir)
        complaint = ""
        if quadlet and unit["LoadState"] == "not-found":
            complaint = generator_complaint(await _generate(system, repo.user), name, quadlet)
        system_unit = None
        if unit["LoadState"] == "not-found" and not repo.is_root:
            (system_unit,) = await system.units(name)
        findings.append(judge_unit(repo.user, name, unit, quadlet, complaint, system_unit or None))
    if repo.units and not system.may_be(repo.user):
        findings.append(unchecked("unit-containers"))
    elif repo.units:
        probe = await system.run(sys.executable, "-m", "tinyci.stage.probe", *repo.units, user=repo.user)
        findings += judge_containers(repo, probe)
    return findings


def judge_containers(repo: Repo, probe: CommandResult) -> list[Finding]:
    """`probe`: of stage/probe.py."""
    check = "unit-containers"
    if probe.status:
        return [unchecked(check, probe.last)]
    doubts = [wrong(Problem.UNIT_CONTAINERS_UNKNOWN, line) for line in probe.out.splitlines()]
    return doubts or [ok(check, f"it can be known which containers {', '.join(repo.units)} runs")]


def _quadlet(unit: str, user: str, uid: int, home: str) -> str:
    """The file that a unit is generated from (podman-systemd.unit(5)), empty when there is none."""
    stem = unit.removesuffix(".service")
    folders = ["/etc/containers/systemd"]
    if user != "root":
        base = "/etc/containers/systemd/users"
        folders = [f"{home}/.config/containers/systemd", f"{base}/{uid}", base]
    ends = {"": ".container", "-pod": ".pod", "-network": ".network", "-volume": ".volume", "-build": ".build"}
    for folder in folders:
        for end, kind in ends.items():
            path = f"{folder}/{stem.removesuffix(end)}{kind}"
            if stem.endswith(end) and os.path.exists(path):
                return path
    return ""


async def _generate(system: System, user: str) -> CommandResult:
    """Run the generator for that user's manager, without writing units."""
    generator = "/usr/lib/systemd/system-generators/podman-system-generator"
    return await system.run(generator, *(["--user"] if user != "root" else []), "--dryrun", user=user)


def generator_complaint(result: CommandResult, name: str, quadlet: str) -> str:
    """The generator's complaint about a file, empty when it makes the unit of it."""
    if f"---{name}---" in result.out.splitlines():
        return ""
    lines = [line for line in result.err.splitlines() if f'"{os.path.basename(quadlet)}": ' in line]
    return lines[-1].partition(": ")[2] if lines else "podman's generator makes nothing of it"
