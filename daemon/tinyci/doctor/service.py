"""Whether a service is up, and what brings it up."""

from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.system import Unit


def judge_service(check: str, name: str, unit: Unit, why: str, install: str = "", last: str = "") -> Finding:
    """`why`: a clause that says what is lost without it. `install`: the command that installs it. `last`: what it said
    last in the journal."""
    if not unit:
        return unchecked(check, "the service manager does not answer")
    load, active = unit["LoadState"], unit["ActiveState"]
    if load == "masked":
        return wrong(check, f"{name} is masked, and {why}", f"systemctl unmask {name} && systemctl restart {name}")
    if load == "not-found":
        return wrong(check, f"{name} is not installed, and {why}", install)
    if load != "loaded":
        return wrong(check, f"systemd cannot load {name} ({unit['LoadError'] or load}), and {why}: correct its files")
    said = f"; it said last: {last}" if last else ""
    if active == "failed":
        restart = f"systemctl reset-failed {name} && systemctl restart {name}"
        return wrong(check, f"{name} has failed ({unit['Result']}), and {why}{said}", restart)
    if active == "inactive":
        return wrong(check, f"{name} is not up, and {why}", f"systemctl start {name}")
    if unit["SubState"] == "auto-restart":
        return wrong(check, f"{name} fails at every start ({unit['Result']}), and {why}{said}: mend that first")
    if active != "active":
        status = f": {unit['StatusText']}" if unit["StatusText"] else ""
        return wrong(check, f"{name} is {active}{status}, and until it is up {why}: look again in a moment")
    return ok(check, f"{name} is up")


def judge_enabled(check: str, name: str, unit: Unit, why: str) -> Finding:
    """Whether it comes by itself when the host boots."""
    if not unit:
        return unchecked(check, "the service manager does not answer")
    if unit["UnitFileState"] == "disabled":
        return wrong(check, f"{name} is not enabled: {why}", f"systemctl enable {name}")
    return ok(check, f"{name} is enabled")
