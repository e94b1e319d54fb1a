"""Whether a service is up, and what brings it up."""

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.system import System, UnitProperties


def judge_service(check: str, name: str, unit: UnitProperties, why: str, install: str = "", last: str = "") -> Finding:
    """`why`: a clause that says what is lost without it. `install`: the command that installs it and starts it.
    `last`: what was last said of it in the journal."""
    if not unit:
        return unchecked(check, "the service manager does not answer")
    load, active = unit["LoadState"], unit["ActiveState"]
    said = f"; it said last: {last}" if last else ""
    if load == "masked":
        return wrong(check, f"{name} is masked, and {why}", f"systemctl unmask {name} && systemctl restart {name}")
    if load == "not-found":
        return wrong(check, f"{name} is not installed, and {why}", install)
    if load != "loaded":
        text = f"systemd cannot load {name} ({last or unit['LoadError'] or load}), and {why}"
        if unit["DropInPaths"] or not unit["FragmentPath"].startswith(files.UNITS):  # what is ours is had back
            install = ""
            text += f": correct what 'systemctl cat {name}' shows, then systemctl daemon-reload"
        return wrong(check, text, install)
    if active == "failed":
        restart = f"systemctl reset-failed {name} && systemctl restart {name}"
        return wrong(check, f"{name} has failed ({unit['Result']}), and {why}{said}", restart)
    if active == "inactive":
        return wrong(check, f"{name} is not up, and {why}", f"systemctl start {name}")
    if _is_started_again(unit):
        return wrong(check, f"{name} fails at every start, and {why}{said}: mend that first")
    if active != "active":
        status = f": {unit['StatusText']}" if unit["StatusText"] else ""
        return wrong(check, f"{name} is {active}{status}, and until it is up {why}: look again in a moment")
    return ok(check, f"{name} is up")


def _is_started_again(unit: UnitProperties) -> bool:
    """Whether it failed, and systemd starts it once more, or is about to."""
    return unit["ActiveState"] == "activating" and (unit["SubState"] == "auto-restart" or unit["NRestarts"] != "0")


def judge_enabled(check: str, name: str, unit: UnitProperties, why: str) -> Finding:
    """Whether it comes by itself when the host boots."""
    if not unit:
        return unchecked(check, "the service manager does not answer")
    if unit["UnitFileState"] == "disabled":
        return wrong(check, f"{name} is not enabled: {why}", f"systemctl enable {name}")
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
