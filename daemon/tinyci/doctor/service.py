"""Services: up and enabled, or the command that brings one up."""

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.lastwords import last_words
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import System, UnitProperties
from tinyci.systemd.unit import UP


def judge_service(
    check: str, name: str, unit: UnitProperties, loss: str, install: str = "", last_line: str = ""
) -> Finding:
    """`loss`: a clause on the consequence of its absence. `install`: the command that installs it and starts it.
    `last_line`: the last line about it in the journal."""
    if not unit:
        return unchecked(check, "the service manager does not answer")
    load, active = unit["LoadState"], unit["ActiveState"]
    remark = f"; it said last: {last_line}" if last_line else ""
    if load == "masked":
        unmask = f"systemctl unmask {name} && systemctl restart {name}"
        return wrong(Problem.SERVICE_MASKED, f"{name} is masked, and {loss}", unmask, name=check)
    if load == "not-found":
        return wrong(Problem.SERVICE_NOT_INSTALLED, f"{name} is not installed, and {loss}", install, name=check)
    if load != "loaded":
        text = f"systemd cannot load {name} ({last_line or unit['LoadError'] or load}), and {loss}"
        if unit["DropInPaths"] or not unit["FragmentPath"].startswith(files.UNITS):  # what is ours is had back
            text += f": correct what 'systemctl cat {name}' shows, then systemctl daemon-reload"
            return wrong(Problem.SERVICE_MISCONFIGURED, text, name=check)
        return wrong(Problem.SERVICE_UNLOADABLE, text, install, name=check)
    if active == "failed":
        restart = f"systemctl reset-failed {name} && systemctl restart {name}"
        text = f"{name} has failed ({unit['Result']}), and {loss}{remark}"
        return wrong(Problem.SERVICE_FAILED, text, restart, name=check)
    if active == "inactive":
        return wrong(Problem.SERVICE_DOWN, f"{name} is not up, and {loss}", f"systemctl start {name}", name=check)
    if _is_started_again(unit):
        text = f"{name} fails at every start, and {loss}{remark}: mend that first"
        return wrong(Problem.SERVICE_CRASHES, text, name=check)
    if active not in UP:
        status = f": {unit['StatusText']}" if unit["StatusText"] else ""
        text = f"{name} is {active}{status}, and until it is up {loss}: look again in a moment"
        return wrong(Problem.SERVICE_STARTS, text, name=check)
    return ok(check, f"{name} is up")


def _is_started_again(unit: UnitProperties) -> bool:
    """Return whether it failed, and systemd starts it once more, or is about to."""
    return unit["ActiveState"] == "activating" and (unit["SubState"] == "auto-restart" or unit["NRestarts"] != "0")


def judge_enabled(service: str, name: str, unit: UnitProperties, loss: str) -> Finding:
    """Judge whether it starts when the host boots. `service`: name of its check."""
    check = f"{service}-enabled"
    if not unit:
        return unchecked(check, "the service manager does not answer")
    if unit["UnitFileState"] == "disabled":
        return wrong(
            Problem.SERVICE_DISABLED, f"{name} is not enabled: {loss}", f"systemctl enable {name}", name=service
        )
    return ok(check, f"{name} is enabled")


async def look(system: System, check: str, name: str, loss: str, install: str = "") -> tuple[Finding, UnitProperties]:
    """Return the finding on a service, and its properties."""
    unit = (await system.units(name))[0]
    finding = judge_service(check, name, unit, loss, install)
    if finding.verdict is Verdict.OK or not unit:
        return finding, unit
    # Lines of systemd on its files, or else its own: systemd knows no reason for its end.
    source = f"UNIT={name}"
    if unit["LoadState"] == "loaded":
        # Of its last start alone; or of those before, when it is being started again and has said nothing yet.
        invocation = unit["InvocationID"] if not _is_started_again(unit) else ""
        source = f"_SYSTEMD_INVOCATION_ID={invocation}" if invocation else f"_SYSTEMD_UNIT={name}"
    result = await system.run("journalctl", "--lines", "30", "--output", "cat", "--quiet", source)
    # That a setting is bad is no news; the line above it says which.
    lines = [line for line in result.out.splitlines() if "has a bad unit file setting" not in line]
    return judge_service(check, name, unit, loss, install, last_words(lines)), unit
