"""The journal's limits: lines that journald drops are missing from the output of a job."""

import glob
from collections.abc import Iterable, Sequence

from tinyci.doctor import files
from tinyci.doctor.configuration import Configuration
from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import System, UnitProperties, own_drop_ins, user_entry
from tinyci.model import timespan
from tinyci.model.gate import DIRECTORY as GATES
from tinyci.systemd.unit import UP

LEAST = 10_000.0
"""Lines in a second that must be let through; journald's own limit is 10,000 in 30 s (journald.conf(5))."""
_RATES = "/run/systemd/units/log-rate-limit-{}:{}"
_DROP_IN = "/etc/systemd/system/user@{}.service.d/50-tinyci.conf"
_GATE = "/etc/systemd/system/user@{}.service.wants/tinyci-gate@{}.service"
_GLOBAL = "/usr/local/lib/systemd/system/user@.service.d/50-tinyci.conf"
"""The drop-in of earlier versions, for every user of the host."""


def rate(interval: float, burst: float) -> float:
    """Lines in a second; without settings, journald's own limit."""
    return burst / interval if interval and burst else 10_000 / 30


def judge_host(lifting: Sequence[str]) -> Finding:
    """`lifting`: drop-ins of tinyci's that lift the limit for users who have no gate."""
    if not lifting:
        return ok("journal-limit", "journald's rate limit is lifted for nobody but users with a gate")
    text = "users without a gate, who can push everybody's lines out of the journal"
    by = ", ".join(lifting)
    return wrong(Problem.JOURNAL_LIMIT_LIFTED, f"journald's rate limit is lifted for {text}, by {by}", files.RATE)


def judge_user(
    user: str, uid: int, running_rate: float, configured_rate: float, drop_ins: Sequence[str], *, has_ours: bool
) -> Finding:
    """`running_rate`: applied by journald to the user's manager now; `configured_rate`: after its next start.
    `drop_ins`: those that set a rate, besides ours; `has_ours`: ours is there, for this user."""
    beyond = f"of {user} prints beyond {min(running_rate, rate(0, 0)):.0f} lines a second"
    if not has_ours and not drop_ins:
        text = f"user@{uid}.service has no {_DROP_IN.format(uid)}, without which journald drops what a build {beyond}"
        return wrong(Problem.JOURNAL_RATE_NO_DROP_IN, text, files.RATE)
    if running_rate >= LEAST:
        return ok("journal-rate", "journald keeps all that a build prints")
    text = f"journald drops what a build {beyond}"
    if configured_rate >= LEAST:
        return wrong(Problem.JOURNAL_RATE_NOT_APPLIED, f"{text}, as it was set before", files.RATE)
    if drop_ins:
        return wrong(Problem.JOURNAL_RATE_LOW, text, f"rm {' '.join(drop_ins)} && {files.RELOAD} && {files.RATE}")
    return wrong(Problem.JOURNAL_RATE_LOW, text, files.restore(files.RATE_CONF, files.RATE))


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


def _lifting(system: System, users: Iterable[str]) -> list[str]:
    """Drop-ins of tinyci's for others than those users and those with a gate."""
    entries = [user_entry(name) for name in users]
    uids = {entry.pw_uid for entry in entries if entry}
    paths = [_GLOBAL] if system.exists(_GLOBAL) else []
    for path in glob.glob(_DROP_IN.format("*")):
        uid = path.partition("@")[2].partition(".")[0]
        if system.link(path) == files.RATE_CONF and uid.isdigit() and int(uid) not in uids:
            # It starts with the manager, or is up.
            has_gate = system.link(_GATE.format(uid, uid)) or system.exists(f"{GATES}/{uid}")
            paths += [] if has_gate else [path]
    return paths


def look_at_host(system: System, config: Configuration) -> list[Finding]:
    return [judge_host(_lifting(system, (repo.user for repo in config.repos.values())))]


async def look(system: System, user: str, uid: int) -> list[Finding]:
    if not uid:
        unit = (await system.units(f"tinyci-build@{'0' * 32}.service"))[0]
        return [judge_root(unit, own_drop_ins(system, unit, "LogRateLimit"))]
    name = f"user@{uid}.service"
    unit = (await system.units(name))[0]
    ours = _DROP_IN.format(uid)
    has_ours = system.file(ours) is not None
    drop_ins = own_drop_ins(system, unit, "LogRateLimit", but=(ours, _GLOBAL))
    if unit.get("ActiveState") not in UP and (has_ours or drop_ins):
        return [unchecked("journal-rate", f"{name} is not up")]
    # By systemd, when it started the unit, or by journal-rate: a drop-in alone does not count before the next start.
    interval, burst = (system.link(_RATES.format(kind, name)) or "0" for kind in ("interval", "burst"))
    running_rate = rate(int(interval) / 1_000_000, int(burst)) if (interval + burst).isdigit() else LEAST
    return [judge_user(user, uid, running_rate, _configured_rate(unit), drop_ins, has_ours=has_ours)]
