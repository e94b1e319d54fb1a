"""tinyci's Redis: up, keeping all jobs, and letting each user do just what it should.

No user of it may ask what others may do, so each is tried: between MULTI and DISCARD nothing is carried out, and Redis
refuses all the same what the user may not do.
"""

import importlib.util
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tinyci.doctor import packages, service
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.service import judge_enabled
from tinyci.doctor.system import System

if TYPE_CHECKING:
    from tinyci.store.session import Session

UNIT = "redis-server@tinyci.service"
SOCKET = "/run/redis-tinyci/redis.sock"
CONFIG = "/etc/redis/redis-tinyci.conf"
ACL = "/etc/redis/users-tinyci.acl"
DATA = "/var/lib/redis-tinyci"
CREDENTIALS = "/etc/tinyci/credentials"

# As the role redis writes them (tests/unit/test_doctor.py holds them together).
RULES = {
    "daemon": "resetchannels ~tinyci:* -@all +@read +@write +@transaction +@connection -@dangerous"
    " +info +eval +evalsha",
    "hook": "resetchannels -@all +auth +hello +ping +multi +exec +discard"
    " (%W~tinyci:new:????????-????-????-????-???????????? +hset) (%W~tinyci:queue +lpush)",
    "notify": "resetchannels -@all +@connection -@dangerous"
    " (~tinyci:events +xread +xreadgroup +xack +xgroup +xautoclaim +xinfo) (%R~tinyci:job:* +hgetall +hmget)",
    "web": "resetchannels %R~tinyci:* -@all +@read +@connection -@dangerous",
}


class Trial(NamedTuple):
    """Commands to try as one user. They leave no trace: without MULTI, they only read, or delete a key that is not
    there."""

    duties: Sequence[str]
    """Commands that the user must be able to give."""
    excesses: Sequence[str]
    """Commands that it must not be able to give."""
    has_multi: bool = False
    """Whether the user may give MULTI and DISCARD."""


_NEW_JOB = "tinyci:new:00000000-0000-0000-0000-000000000000"
TRIES: Mapping[str, Trial] = {
    "daemon": Trial(
        (
            "HSET tinyci:job:doctor a b",
            "LMOVE tinyci:queue tinyci:accepted RIGHT LEFT",
            "XADD tinyci:events * a b",
            "UNLINK tinyci:job:doctor",
        ),
        ("FLUSHALL", "CONFIG GET dir", "HSET other a b"),
        has_multi=True,
    ),
    "hook": Trial(
        (f"HSET {_NEW_JOB} a b", "LPUSH tinyci:queue doctor"),
        ("HSET tinyci:job:doctor a b", f"HGETALL {_NEW_JOB}", "DEL tinyci:queue", "LPUSH tinyci:accepted doctor"),
        has_multi=True,
    ),
    "notify": Trial(
        ("XREAD COUNT 1 STREAMS tinyci:events $", "HGETALL tinyci:job:doctor"),
        ("DEL tinyci:doctor", "CONFIG GET dir"),
    ),
    "web": Trial(
        ("HGETALL tinyci:job:doctor", "LRANGE tinyci:queue 0 0"),
        ("DEL tinyci:doctor", "CONFIG GET dir", "HGETALL other"),
    ),
}
_PATIENCE = 5.0
"""Seconds for each answer."""
_WITHOUT = "pushes are kept as files and deployed only when it is back"
# Several of these in a row are no crash loop: the first command has systemd count from nothing again.
_RESTART = f"systemctl reset-failed {UNIT} && systemctl restart {UNIT}"


def judge_login(user: str, reply: str, restart: str) -> Finding:
    """`reply`: Redis' words on why it does not let the user in. `restart`: the command after which it reads its ACL."""
    text = f"Redis does not let in '{user}' with {CREDENTIALS}/redis-{user}: {reply}"
    return wrong(Problem.REDIS_ACL_LOGIN, text, _acl(user, restart), name=user)


def judge_acl(user: str, refusals: Collection[str], restart: str) -> Finding:
    """`refusals`: commands of TRIES that Redis refused. `restart`: the command after which it reads its ACL."""
    trial = TRIES[user]
    denials = [command for command in trial.duties if command in refusals]
    if denials:
        text = f"Redis does not let '{user}' do what it has to: {denials[0]}"
        return wrong(Problem.REDIS_ACL_DENIES, text, _acl(user, restart), name=user)
    grants = [command for command in trial.excesses if command not in refusals]
    if grants:
        text = f"Redis lets '{user}' do more than it should: {grants[0]}"
        return wrong(Problem.REDIS_ACL_GRANTS, text, _acl(user, restart), name=user)
    return ok(f"redis-acl-{user}", f"Redis lets '{user}' do just what it should")


def _acl(user: str, restart: str) -> str:
    """Write the user's line anew. Empty for a Redis that is not ours."""
    if not restart:
        return ""
    password = f'"$(sha256sum <{CREDENTIALS}/redis-{user} | cut -d" " -f1)"'
    line = f"echo 'user {user} on #'{password}' {RULES[user]}' >>{ACL}"
    return f"sed -i '/^user {user} /d' {ACL} && {line} && {restart}"


def judge_credential(user: str, rights: str, target: str) -> Finding:
    """`rights`: of the password's file, empty when there is none; `target`: those that it should have."""
    path = f"{CREDENTIALS}/redis-{user}"
    if not rights:
        make = f"(umask 077; head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' >{path})"
        again = " && systemctl restart tinyci.service" if user == "daemon" else ""
        mend = f"{make} && {_rights(path, target)} && {_acl(user, _RESTART)}{again}"
        text = f"{path} is missing, so '{user}' cannot log in to Redis"
        return wrong(Problem.REDIS_PASSWORD_MISSING, text, mend, name=user)
    if rights != target:
        why = "the hook could not read it" if user == "hook" else "it is for root's eyes"
        text = f"{path} is {rights}, expected {target}: {why}"
        return wrong(Problem.REDIS_PASSWORD_RIGHTS, text, _rights(path, target), name=user)
    return ok(f"redis-password-{user}", f"{path} is there, for the right ones to read")


def _rights(path: str, rights: str) -> str:
    mode, owner = rights.split(" ")
    return f"chown {owner} {path} && chmod {mode} {path}"


def judge_persistence(info: Mapping[str, str]) -> Finding:
    """`info`: INFO persistence."""
    if not info:
        return unchecked("redis-persistence", "Redis does not let 'daemon' ask")
    if info.get("aof_enabled") != "1":
        mend = (
            f"sed -i '/^appendonly /d' {CONFIG} && echo 'appendonly yes' >>{CONFIG} && systemctl stop {UNIT} && "
            f"if [ -e {DATA}/appendonlydir ]; then mv {DATA}/appendonlydir {DATA}/before.$(date +%s); fi && "
            f"systemctl reset-failed {UNIT} && systemctl start {UNIT}"
        )
        text = "Redis keeps nothing on disk (appendonly no): its next restart, this mend's too, forgets every job"
        return wrong(Problem.REDIS_PERSISTENCE_OFF, f"{text}, so do it while none waits", mend)
    if info.get("aof_last_write_status") != "ok":
        text = "Redis cannot write to its disk, and refuses every job: make room there"
        return wrong(Problem.REDIS_PERSISTENCE_FULL, text)
    return ok("redis-persistence", "Redis writes every job to disk")


def judge_memory(info: Mapping[str, str]) -> Finding:
    """`info`: INFO memory."""
    if not info:
        return unchecked("redis-memory", "Redis does not let 'daemon' ask")
    policy, limit, usage = (info.get(key, "") for key in ("maxmemory_policy", "maxmemory", "used_memory"))
    if policy != "noeviction" and limit != "0":
        mend = f"sed -i '/^maxmemory-policy /d' {CONFIG} && {_RESTART}"
        text = f"Redis throws jobs away when its memory is full (maxmemory-policy {policy})"
        return wrong(Problem.REDIS_MEMORY_EVICTS, text, mend)
    if limit.isdigit() and usage.isdigit() and 0 < int(limit) < int(usage) * 1.1:
        text = f"Redis has used {usage} of {limit} bytes, and refuses jobs beyond"
        choice = "raise maxmemory and restart it, or lower [keep] in /etc/tinyci/tinyci.toml"
        return wrong(Problem.REDIS_MEMORY_FULL, f"{text}: {choice}")
    return ok("redis-memory", "Redis never throws jobs away")


def parse_info(text: str) -> dict[str, str]:
    return dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)


async def look(system: System, socket: str) -> list[Finding]:
    is_ours = socket == SOCKET
    findings = []
    if is_ours:
        install = f"{packages.install('redis-server')} && systemctl enable --now {UNIT}"
        up, unit = await service.look(system, "redis", UNIT, _WITHOUT, install)
        findings = [
            up,
            judge_enabled("redis", UNIT, unit, "after the next boot pushes would only be kept as files"),
        ]
    names = [f"redis-acl-{user}" for user in RULES]
    if not system.is_root:
        passwords = [f"redis-password-{user}" for user in RULES]
        return findings + [unchecked(name) for name in (*passwords, *names, "redis-persistence", "redis-memory")]
    for user in RULES:
        file = system.file(f"{CREDENTIALS}/redis-{user}")
        rights = "640 root:tinyci-push" if user == "hook" else "600 root:root"
        findings.append(judge_credential(user, file.rights if file else "", rights))
    rest = (*names, "redis-persistence", "redis-memory")
    if importlib.util.find_spec("redis") is None:  # doctor has to run without the library, to say so
        return findings + [unchecked(name, "the library redis is not installed") for name in rest]
    from tinyci.store.session import NoAnswerError

    try:
        for user in RULES:
            password = (system.read(f"{CREDENTIALS}/redis-{user}") or "").strip()
            findings += await try_user(socket, user, password or "-", _RESTART if is_ours else "")
    except NoAnswerError as error:
        if not is_ours:
            text = f"Redis does not answer at {shlex.quote(socket)}: {error}"
            findings.append(wrong(Problem.REDIS_UNREACHABLE, text))
        elif findings[0].verdict is Verdict.OK:
            text = f"{UNIT} is up and does not answer ({error}), and {_WITHOUT}"
            findings[0] = wrong(Problem.REDIS_SILENT, text, _RESTART)
        checks = {each.check for each in findings}
        findings += [unchecked(name, f"Redis does not answer: {error}") for name in rest if name not in checks]
    # Where another Redis keeps its configuration, its admin knows.
    return findings if is_ours else [replace(each, mend="") for each in findings]


async def try_user(socket: str, user: str, password: str, restart: str) -> list[Finding]:
    """Try what a user of that Redis may do. `restart`: as of judge_acl(). Raises NoAnswerError."""
    from tinyci.store.session import LoginError, Session

    session = Session(socket, _PATIENCE)
    try:
        await session.log_in(user, password)
        findings = [judge_acl(user, await _refusals(session, TRIES[user]), restart)]
        if user == "daemon":
            findings.append(judge_persistence(parse_info(await session.text("INFO", "persistence"))))
            findings.append(judge_memory(parse_info(await session.text("INFO", "memory"))))
        return findings
    except LoginError as error:
        return [judge_login(user, str(error), restart)]
    finally:
        await session.close()


async def _refusals(session: "Session", trial: Trial) -> set[str]:
    """The commands of the trial that Redis refuses. Raises NoAnswerError."""
    if trial.has_multi:
        await session.text("MULTI")
    commands = (*trial.duties, *trial.excesses)
    refusals = {command for command in commands if await session.is_refused(*command.split())}
    if trial.has_multi:
        await session.text("DISCARD")
    return refusals
