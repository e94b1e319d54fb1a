"""polkit: it answers, knows tinyci's actions, and lets the daemon do just what it should.

Root may ask it about the daemon itself, so its answer counts, not the text of a file.
"""

import json
import re
from collections.abc import Collection, Mapping

from tinyci.dbus import names
from tinyci.dbus.bus import BusError, BusGoneError, Variant
from tinyci.doctor import files, packages, service
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import PATIENCE, System
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import PROBES

_MANAGE = "org.freedesktop.systemd1.manage-units"
ACTIONS = tuple(names.Action)
_RESTART = "systemctl restart polkit.service"
_STAGE = "tinyci-build@" + "0" * 32

Question = tuple[str, str, str]
"""Action, unit and verb."""
DUTIES: tuple[Question, ...] = tuple(
    (_MANAGE, unit, verb) for unit in PROBES for verb in ("start", "stop", "reset-failed")
)
# Names that no unit file has: whoever may start or restart these may do it with anything.
EXCESSES: tuple[Question, ...] = (
    (_MANAGE, "tinyci-doctor.service", "restart"),
    (_MANAGE, "tinyci-doctor.service", "start"),
    (_MANAGE, f"{_STAGE}.timer", "start"),
    (_MANAGE, f"{_STAGE}.service", "kill"),
    ("org.freedesktop.systemd1.manage-unit-files", "", ""),
    ("org.freedesktop.systemd1.reload-daemon", "", ""),
)


def judge_actions(owners: Mapping[str, str]) -> Finding:
    """`owners`: of each action that polkit knows, the users that may ask about others."""
    missing = [action for action in ACTIONS if "unix-user:tinyci" not in owners.get(action, "")]
    if missing:
        text = f"polkit does not know tinyci's action {missing[0]}, so nobody but root may cancel, retry or roll back"
        return wrong(Problem.POLKIT_ACTIONS_UNKNOWN, text, files.restore(files.ACTIONS))
    return ok("polkit-actions", "polkit knows what people may ask of tinyci")


def judge_rules(answers: Mapping[Question, bool], *, is_ours: bool) -> Finding:
    """`answers`: True if the daemon may. `is_ours`: the rules are those that were installed."""
    denials = [question for question in DUTIES if not answers[question]]
    if denials:
        _, unit, verb = denials[0]
        text = f"polkit does not let the daemon {verb} {unit}, so what root runs cannot be deployed"
        if is_ours:
            text += "; when this mend does not help, another file in /etc/polkit-1/rules.d/ decides before it"
        return wrong(Problem.POLKIT_RULES_DENY, text, files.restore(files.RULES))
    grants = [question for question in EXCESSES if answers[question]]
    if grants:
        action, unit, verb = grants[0]
        what = f"{verb} {unit}" if verb else action.rpartition(".")[2]
        text = f"polkit lets the daemon do more than it should ({what}), which is as good as root"
        if is_ours:
            return wrong(
                Problem.POLKIT_RULES_OVERRULED, f"{text}: look for the rule in /etc/polkit-1/rules.d/ and take it out"
            )
        return wrong(Problem.POLKIT_RULES_GRANT, text, files.restore(files.RULES))
    return ok("polkit-rules", "polkit lets the daemon do just what it should")


def judge_listed(repo: Repo, refusals: Collection[str], rules: str) -> Finding:
    """`refusals`: units that the daemon may not restart. `rules`: the file that lists this repo's now."""
    if not refusals:
        return ok("unit-listed", "polkit lets the daemon restart the units")
    old_units = re.findall(r'"([A-Za-z0-9:_.\\@-]+\.[a-z]+)"', rules)
    units = json.dumps(list(dict.fromkeys([*repo.units, *old_units])))
    path = f"/etc/polkit-1/rules.d/40-tinyci-{repo.name}.rules"
    mend = f"echo 'polkit.tinyciUnits = (polkit.tinyciUnits || []).concat({units});' >{path} && {_RESTART}"
    text = (
        f"polkit does not let the daemon restart {' '.join(sorted(refusals))}: the units are not in polkit.tinyciUnits"
    )
    return wrong(Problem.UNIT_UNLISTED, text, mend)


async def look(system: System) -> list[Finding]:
    try:
        reply = await system.ask(*names.POLKIT, "EnumerateActions", "s", "", limit=PATIENCE)
    except (BusError, BusGoneError) as error:
        install = packages.install("polkitd")
        down, unit = await service.look(system, "polkit", "polkit.service", "nothing of root's is deployed", install)
        if down.verdict is Verdict.WRONG or not unit:
            return [down]
        return [
            wrong(
                Problem.POLKIT_SILENT, f"polkit does not answer ({error}), and nothing of root's is deployed", _RESTART
            )
        ]
    owners = {str(row[0]): str(row[9].get("org.freedesktop.policykit.owner", "")) for row in reply[0]}
    findings = [ok("polkit", "polkit answers"), judge_actions(owners)]
    if not system.is_root:
        return [*findings, unchecked("polkit-rules")]
    try:
        answers = {question: await _may_daemon(system, *question) for question in (*DUTIES, *EXCESSES)}
    except (BusError, BusGoneError) as error:
        return [*findings, unchecked("polkit-rules", f"the daemon is not on the bus ({error})")]
    is_ours = (await system.run("tar", "-xOf", files.ARCHIVE, files.RULES[1:])).out == system.read(files.RULES)
    return [*findings, judge_rules(answers, is_ours=is_ours)]


async def look_at(system: System, repo: Repo) -> list[Finding]:
    """Judge polkit's answers on the units of one repo."""
    if not repo.is_root or not repo.units:
        return []
    if not system.is_root:
        return [unchecked("unit-listed")]
    try:
        refusals = [unit for unit in repo.units if not await _may_daemon(system, _MANAGE, unit, "restart")]
    except (BusError, BusGoneError) as error:
        return [unchecked("unit-listed", f"the daemon or polkit does not answer ({error})")]
    rules = system.read(f"/etc/polkit-1/rules.d/40-tinyci-{repo.name}.rules") or ""
    return [judge_listed(repo, refusals, rules)]


async def _may_daemon(system: System, action: str, unit: str, verb: str) -> bool:
    """Return polkit's answer about the daemon's connection. Raises BusError and BusGoneError."""
    owner = (await system.ask(*names.BUS, "GetNameOwner", "s", names.NAME))[0]
    details = {"unit": unit, "verb": verb} if verb else {}
    subject = ["system-bus-name", {"name": Variant("s", owner)}]
    answer = await system.ask(*names.POLKIT, "CheckAuthorization", "(sa{sv})sa{ss}us", subject, action, details, 0, "")
    return bool(answer[0][0])
