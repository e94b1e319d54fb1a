"""tinyci's Redis: up, keeping what it is told, and letting everybody do just what they should.

No user of it may ask what others may do, so each is tried: between MULTI and DISCARD nothing is carried out, and Redis
says all the same what is refused.
"""

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tinyci.doctor import packages, service
from tinyci.doctor.finding import Finding, Verdict, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.service import judge_enabled
from tinyci.doctor.system import System

UNIT = "redis-server@tinyci.service"
SOCKET = "/run/redis-tinyci/redis.sock"
CONFIG = "/etc/redis/redis-tinyci.conf"
ACL = "/etc/redis/users-tinyci.acl"
DATA = "/var/lib/redis-tinyci"
CREDENTIALS = "/etc/tinyci/credentials"

# As the role redis writes them (tests/unit/test_doctor.py holds them together).
RULES = {
    "daemon": "resetchannels ~tinyci:* -@all +@read +@write +@transaction +@connection -@dangerous +info",
    "hook": "resetchannels -@all +auth +hello +ping +multi +exec +discard"
    " (%W~tinyci:job:* +hset) (%W~tinyci:jobs +zadd) (%W~tinyci:queue +lpush)",
    "notify": "resetchannels -@all +@connection -@dangerous"
    " (~tinyci:events +xread +xreadgroup +xack +xgroup +xautoclaim +xinfo) (%R~tinyci:job:* +hgetall +hmget)",
    "web": "resetchannels %R~tinyci:* -@all +@read +@connection -@dangerous",
}

# What each must be let do, and what not. Nothing of it leaves a trace: where there is no MULTI, it only reads, or
# deletes a key that is not there.
TRIES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "daemon": (
        (
            "HSET tinyci:job:doctor a b",
            "LMOVE tinyci:queue tinyci:accepted RIGHT LEFT",
            "XADD tinyci:events * a b",
            "UNLINK tinyci:job:doctor",
        ),
        ("FLUSHALL", "CONFIG GET dir", "HSET other a b"),
    ),
    "hook": (
        ("HSET tinyci:job:doctor a b", "ZADD tinyci:jobs 1 doctor", "LPUSH tinyci:queue doctor"),
        ("HGETALL tinyci:job:doctor", "DEL tinyci:queue", "LPUSH tinyci:accepted doctor", "FLUSHALL"),
    ),
    "notify": (
        ("XREAD COUNT 1 STREAMS tinyci:events $", "HGETALL tinyci:job:doctor"),
        ("DEL tinyci:doctor", "CONFIG GET dir"),
    ),
    "web": (
        ("HGETALL tinyci:job:doctor", "LRANGE tinyci:queue 0 0"),
        ("DEL tinyci:doctor", "CONFIG GET dir", "HGETALL other"),
    ),
}
_PATIENCE = 5.0
_WITHOUT = "pushes are kept as files and deployed only when it is back"
# Several of these in a row are no crash loop: the first command has systemd count from nothing again.
_RESTART = f"systemctl reset-failed {UNIT} && systemctl restart {UNIT}"


class RedisGoneError(Exception):
    """No answer; one clause."""


class Connection:
    """One user's connection. Its commands are inline ones, so that no word of them may hold a space."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, socket: str) -> "Connection":
        """Raises RedisGone."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return cls(*await asyncio.open_unix_connection(socket))
        except (OSError, TimeoutError) as error:
            raise RedisGoneError(f"{socket}: {getattr(error, 'strerror', '') or 'no answer'}") from None

    async def ask(self, command: str) -> str:
        """The reply as text, arrays as nothing; an error begins with a word such as NOPERM. Raises RedisGone."""
        try:
            async with asyncio.timeout(_PATIENCE):
                self._writer.write(command.encode() + b"\r\n")
                await self._writer.drain()
                return await self._reply()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            raise RedisGoneError(f"no answer ({error or type(error).__name__})") from None

    async def _reply(self) -> str:
        line = (await self._reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")
        kind, rest = line[:1], line[1:]
        if kind == "$" and rest != "-1":
            return (await self._reader.readexactly(int(rest) + 2))[:-2].decode("utf-8", "replace")
        if kind == "*":
            for _ in range(max(0, int(rest))):
                await self._reply()
            return ""
        return rest

    def close(self) -> None:
        self._writer.close()


def judge_acl(user: str, login: str, replies: Mapping[str, str], restart: str) -> Finding:
    """`login`: the reply to AUTH. `replies`: those to what was tried, by command. `restart`: what reads the ACL."""
    if login != "OK":
        text = f"Redis does not let in '{user}' with {CREDENTIALS}/redis-{user}: {login}"
        return wrong(Problem.REDIS_ACL_LOGIN, text, _acl(user, restart), name=user)
    allowed, refused = TRIES[user]
    denied = [command for command in allowed if replies[command].startswith("NOPERM")]
    if denied:
        text = f"Redis does not let '{user}' do what it has to: {denied[0]}"
        return wrong(Problem.REDIS_ACL_DENIES, text, _acl(user, restart), name=user)
    granted = [command for command in refused if not replies[command].startswith("NOPERM")]
    if granted:
        text = f"Redis lets '{user}' do more than it should: {granted[0]}"
        return wrong(Problem.REDIS_ACL_GRANTS, text, _acl(user, restart), name=user)
    return ok(f"redis-acl-{user}", f"Redis lets '{user}' do just what it should")


def _acl(user: str, restart: str) -> str:
    """Write the user's line anew. Empty for a Redis that is not ours."""
    if not restart:
        return ""
    password = f'"$(sha256sum <{CREDENTIALS}/redis-{user} | cut -d" " -f1)"'
    line = f"echo 'user {user} on #'{password}' {RULES[user]}' >>{ACL}"
    return f"sed -i '/^user {user} /d' {ACL} && {line} && {restart}"


def judge_credential(user: str, rights: str, expected: str) -> Finding:
    """`rights` of the password's file, empty when there is none."""
    path = f"{CREDENTIALS}/redis-{user}"
    if not rights:
        make = f"(umask 077; head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' >{path})"
        again = " && systemctl restart tinyci.service" if user == "daemon" else ""
        mend = f"{make} && {_rights(path, expected)} && {_acl(user, _RESTART)}{again}"
        text = f"{path} is missing, so '{user}' cannot log in to Redis"
        return wrong(Problem.REDIS_PASSWORD_MISSING, text, mend, name=user)
    if rights != expected:
        why = "the hook could not read it" if user == "hook" else "it is for root's eyes"
        text = f"{path} is {rights}, expected {expected}: {why}"
        return wrong(Problem.REDIS_PASSWORD_RIGHTS, text, _rights(path, expected), name=user)
    return ok(f"redis-password-{user}", f"{path} is there, for the right ones to read")


def _rights(path: str, expected: str) -> str:
    mode, owner = expected.split(" ")
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
    policy, most, used = (info.get(key, "") for key in ("maxmemory_policy", "maxmemory", "used_memory"))
    if policy != "noeviction" and most != "0":
        mend = f"sed -i '/^maxmemory-policy /d' {CONFIG} && {_RESTART}"
        text = f"Redis throws jobs away when its memory is full (maxmemory-policy {policy})"
        return wrong(Problem.REDIS_MEMORY_EVICTS, text, mend)
    if most.isdigit() and used.isdigit() and 0 < int(most) < int(used) * 1.1:
        text = (
            f"Redis has used {used} of {most} bytes, and refuses jobs beyond: raise maxmemory and restart it, or lower"
        )
        return wrong(Problem.REDIS_MEMORY_FULL, f"{text} [keep] in /etc/tinyci/tinyci.toml")
    return ok("redis-memory", "Redis never throws jobs away")


def parse_info(text: str) -> dict[str, str]:
    return dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)


async def look(system: System, socket: str) -> list[Finding]:
    ours = socket == SOCKET
    findings = []
    if ours:
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
        expected = "640 root:tinyci-push" if user == "hook" else "600 root:root"
        findings.append(judge_credential(user, file.rights if file else "", expected))
    try:
        for user in RULES:
            findings += await _try(system, socket, user, _RESTART if ours else "")
    except RedisGoneError as error:
        seen = {each.check for each in findings}
        if not ours:
            findings.append(
                wrong(Problem.REDIS_UNREACHABLE, f"Redis does not answer at {shlex.quote(socket)}: {error}")
            )
        elif findings[0].verdict is Verdict.OK:
            text = f"{UNIT} is up and does not answer ({error}), and {_WITHOUT}"
            findings[0] = wrong(Problem.REDIS_SILENT, text, _RESTART)
        rest = (*names, "redis-persistence", "redis-memory")
        findings += [unchecked(name, f"Redis does not answer: {error}") for name in rest if name not in seen]
    # Where another Redis keeps its configuration, its admin knows.
    return findings if ours else [replace(each, mend="") for each in findings]


async def _try(system: System, socket: str, user: str, restart: str) -> list[Finding]:
    """Raises RedisGone."""
    password = (system.read(f"{CREDENTIALS}/redis-{user}") or "").strip()
    connection = await Connection.open(socket)
    try:
        login = await connection.ask(f"AUTH {user} {password or '-'}")
        replies: dict[str, str] = {}
        if login != "OK":
            return [judge_acl(user, login, replies, restart)]
        multi = user in ("daemon", "hook")
        if multi:
            await connection.ask("MULTI")
        for command in (*TRIES[user][0], *TRIES[user][1]):
            replies[command] = await connection.ask(command)
        if multi:
            await connection.ask("DISCARD")
        findings = [judge_acl(user, login, replies, restart)]
        if user == "daemon":
            findings.append(judge_persistence(parse_info(await connection.ask("INFO persistence"))))
            findings.append(judge_memory(parse_info(await connection.ask("INFO memory"))))
        return findings
    finally:
        connection.close()
