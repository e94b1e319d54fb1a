"""Whether a service is up, and what brings it up."""

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import System, UnitProperties


def judge_service(check: str, name: str, unit: UnitProperties, why: str, install: str = "", last: str = "") -> Finding:
    """`why`: a clause that says what is lost without it. `install`: the command that installs it and starts it.
    `last`: what was last said of it in the journal."""
    if not unit:
        return unchecked(check, "the service manager does not answer")
    load, active = unit["LoadState"], unit["ActiveState"]
    said = f"; it said last: {last}" if last else ""
    if load == "masked":
        unmask = f"systemctl unmask {name} && systemctl restart {name}"
        return wrong(Problem.SERVICE_MASKED, f"{name} is masked, and {why}", unmask, name=check)
    if load == "not-found":
        return wrong(Problem.SERVICE_NOT_INSTALLED, f"{name} is not installed, and {why}", install, name=check)
    if load != "loaded":
        text = f"systemd cannot load {name} ({last or unit['LoadError'] or load}), and {why}"
        if unit["DropInPaths"] or not unit["FragmentPath"].startswith(files.UNITS):  # what is ours is had back
            text += f": correct what 'systemctl cat {name}' shows, then systemctl daemon-reload"
            return wrong(Problem.SERVICE_MISCONFIGURED, text, name=check)
        return wrong(Problem.SERVICE_UNLOADABLE, text, install, name=check)
    if active == "failed":
        restart = f"systemctl reset-failed {name} && systemctl restart {name}"
        text = f"{name} has failed ({unit['Result']}), and {why}{said}"
        return wrong(Problem.SERVICE_FAILED, text, restart, name=check)
    if active == "inactive":
        return wrong(Problem.SERVICE_DOWN, f"{name} is not up, and {why}", f"systemctl start {name}", name=check)
    if _is_started_again(unit):
        text = f"{name} fails at every start, and {why}{said}: mend that first"
        return wrong(Problem.SERVICE_CRASHES, text, name=check)
    if active != "active":
        status = f": {unit['StatusText']}" if unit["StatusText"] else ""
        text = f"{name} is {active}{status}, and until it is up {why}: look again in a moment"
        return wrong(Problem.SERVICE_STARTS, text, name=check)
    return ok(check, f"{name} is up")


def _is_started_again(unit: UnitProperties) -> bool:
    """Whether it failed, and systemd starts it once more, or is about to."""
    return unit["ActiveState"] == "activating" and (unit["SubState"] == "auto-restart" or unit["NRestarts"] != "0")


def judge_enabled(service: str, name: str, unit: UnitProperties, why: str) -> Finding:
    """Judge whether it comes by itself when the host boots. `service`: name of its check."""
    check = f"{service}-enabled"
    if not unit:
        return unchecked(check, "the service manager does not answer")
    if unit["UnitFileState"] == "disabled":
        return wrong(
            Problem.SERVICE_DISABLED, f"{name} is not enabled: {why}", f"systemctl enable {name}", name=service
        )
    return ok(check, f"{name} is enabled")


async def look(system: System, check: str, name: str, why: str, install: str = "") -> tuple[Finding, UnitProperties]:
    """What judge_service says of it now, and what its manager does."""
    unit = (await system.units(name))[0]
    found = judge_service(check, name, unit, why, install)
    if found.verdict is Verdict.OK or not unit:
        return found, unit
    # What systemd says of its files, or else what it said itself: of its end systemd knows no reason.
    source = f"UNIT={name}"
    if unit["LoadState"] == "loaded":
        # Of its last start alone; or of those before, when it is being started again and has said nothing yet.
        started = unit["InvocationID"] if not _is_started_again(unit) else ""
        source = f"_SYSTEMD_INVOCATION_ID={started}" if started else f"_SYSTEMD_UNIT={name}"
    done = await system.run("journalctl", "--lines", "10", "--output", "cat", "--quiet", source)
    # That a setting is bad is known by now; which it is stands above.
    said = [line for line in done.out.splitlines() if "has a bad unit file setting" not in line]
    return judge_service(check, name, unit, why, install, said[-1].strip() if said else ""), unit
