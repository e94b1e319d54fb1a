"""The journal's limits: what a build prints is a job's output only as far as journald keeps it."""

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import System, UnitProperties, own_drop_ins
from tinyci.model import timespan

LEAST = 10_000.0
"""Lines in a second that must be let through; journald's own limit is 10,000 in 30 s (journald.conf(5))."""
_RATES = "/run/systemd/units/log-rate-limit-{}:{}"


def rate(interval: float, burst: float) -> float:
    """Lines in a second; nothing set is journald's own limit."""
    return burst / interval if interval and burst else 10_000 / 30


def judge_user(user: str, uid: int, running: float, configured: float, spoiled: list[str], is_there: bool) -> Finding:
    """`running`: the rate that journald applies to the user's manager now, `configured`: the one after its next start.
    `spoiled`: drop-ins besides ours that set one, `is_there`: whether ours is."""
    unit = f"user@{uid}.service"
    if running >= LEAST:
        return ok("journal-rate", "journald keeps all that a build prints")
    text = f"journald drops what a build of {user} prints beyond {running:.0f} lines a second"
    restart = f"systemctl restart {unit}"
    if configured >= LEAST:
        return wrong(Problem.JOURNAL_RATE_NOT_APPLIED, f"{text}; this mend restarts what {user} runs", restart)
    parts = [f"rm {' '.join(spoiled)} && {files.RELOAD}"] if spoiled else []
    if not is_there or not spoiled:
        parts.append(files.restore(files.RATE))
    return wrong(
        Problem.JOURNAL_RATE_LOW, f"{text}; this mend restarts what {user} runs", " && ".join([*parts, restart])
    )


def judge_root(unit: UnitProperties, spoiled: list[str]) -> Finding:
    """`unit`: an instance of root's tinyci-build@.service."""
    if not unit:
        return unchecked("journal-rate", "the service manager does not answer")
    if _configured(unit) >= LEAST:
        return ok("journal-rate", "journald keeps all that a build prints")
    mend = f"rm {' '.join(spoiled)} && systemctl daemon-reload" if spoiled else ""
    text = "journald drops what a build of root prints: tinyci-build@.service sets too low a LogRateLimitBurst="
    return wrong(Problem.JOURNAL_RATE_ROOT_LOW, text, mend or files.restore(f"{files.UNITS}/{files.STAGES[0]}"))


def _configured(unit: UnitProperties) -> float:
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
    running = rate(int(interval) / 1_000_000, int(burst)) if (interval + burst).isdigit() else LEAST
    spoiled = own_drop_ins(system, unit, "LogRateLimit", but=(files.RATE,))
    return [judge_user(user, uid, running, _configured(unit), spoiled, system.file(files.RATE) is not None)]
