"""The journal's limits: lines that journald drops are missing from the output of a job."""

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import System, UnitProperties, own_drop_ins
from tinyci.model import timespan

LEAST = 10_000.0
"""Lines in a second that must be let through; journald's own limit is 10,000 in 30 s (journald.conf(5))."""
_RATES = "/run/systemd/units/log-rate-limit-{}:{}"


def rate(interval: float, burst: float) -> float:
    """Lines in a second; without settings, journald's own limit."""
    return burst / interval if interval and burst else 10_000 / 30


def judge_user(
    user: str, uid: int, running_rate: float, configured_rate: float, drop_ins: list[str], *, has_ours: bool
) -> Finding:
    """`running_rate`: applied by journald to the user's manager now; `configured_rate`: after its next start.
    `drop_ins`: those that set a rate, besides ours; `has_ours`: ours is there."""
    unit = f"user@{uid}.service"
    if running_rate >= LEAST:
        return ok("journal-rate", "journald keeps all that a build prints")
    text = f"journald drops what a build of {user} prints beyond {running_rate:.0f} lines a second"
    restart = f"systemctl restart {unit}"
    if configured_rate >= LEAST:
        return wrong(Problem.JOURNAL_RATE_NOT_APPLIED, f"{text}; this mend restarts what {user} runs", restart)
    parts = [f"rm {' '.join(drop_ins)} && {files.RELOAD}"] if drop_ins else []
    if not has_ours or not drop_ins:
        parts.append(files.restore(files.RATE))
    return wrong(
        Problem.JOURNAL_RATE_LOW, f"{text}; this mend restarts what {user} runs", " && ".join([*parts, restart])
    )


def judge_root(unit: UnitProperties, drop_ins: list[str]) -> Finding:
    """`unit`: an instance of root's tinyci-build@.service."""
    if not unit:
        return unchecked("journal-rate", "the service manager does not answer")
    if _configured_rate(unit) >= LEAST:
        return ok("journal-rate", "journald keeps all that a build prints")
    mend = f"rm {' '.join(drop_ins)} && systemctl daemon-reload" if drop_ins else ""
    text = "journald drops what a build of root prints: tinyci-build@.service sets too low a LogRateLimitBurst="
    return wrong(Problem.JOURNAL_RATE_ROOT_LOW, text, mend or files.restore(f"{files.UNITS}/{files.STAGES[0]}"))


def _configured_rate(unit: UnitProperties) -> float:
    try:
        interval = timespan.parse(unit.get("LogRateLimitIntervalUSec", ""))
        return rate(interval, float(unit.get("LogRateLimitBurst", "") or 0))
    except ValueError:
        return rate(0, 0)


async def look(system: System, user: str, uid: int) -> list[Finding]:
    if not uid:
        unit = (await system.units(f"tinyci-build@{'0' * 32}.service"))[0]
        return [judge_root(unit, own_drop_ins(system, unit, "LogRateLimit"))]
    name = f"user@{uid}.service"
    unit = (await system.units(name))[0]
    if unit.get("ActiveState") != "active":
        return [unchecked("journal-rate", f"{name} is not up")]
    # What systemd told journald when it started the unit: a changed drop-in does not count before the next start.
    interval, burst = (system.link(_RATES.format(kind, name)) or "0" for kind in ("interval", "burst"))
    running_rate = rate(int(interval) / 1_000_000, int(burst)) if (interval + burst).isdigit() else LEAST
    drop_ins = own_drop_ins(system, unit, "LogRateLimit", but=(files.RATE,))
    has_ours = system.file(files.RATE) is not None
    return [judge_user(user, uid, running_rate, _configured_rate(unit), drop_ins, has_ours=has_ours)]
