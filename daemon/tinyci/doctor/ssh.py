"""The login of the user as whom people push, as sshd sees it. Source: sshd_config(5), sshd(8) (-T), shadow(5)."""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from tinyci.doctor.finding import Finding, ok, unchecked, wrong
from tinyci.doctor.problems import Problem
from tinyci.doctor.system import System, user_entry

CHECK = "push-ssh"
_SSHD = "/usr/sbin/sshd"
_DIRECTORY = "/etc/ssh/sshd_config.d"

Settings = Mapping[str, list[str]]
"""The values of each keyword, in lower case, that are in force for the user."""


def parse_settings(text: str) -> dict[str, list[str]]:
    """Return the settings that `sshd -T` prints. Some versions write keywords with capitals, and some of them more than
    once."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        settings.setdefault(keyword.lower(), []).extend(value.split())
    return settings


def judge(
    owner: str, home: str, groups: Collection[str], settings: Settings, key_files: Collection[str], *, is_locked: bool
) -> list[Finding]:
    """`groups`: of the user. `key_files`: files with keys among those that sshd may look into. `is_locked`: no password
    of the account is valid, which its entry in shadow(5) says with a `!`."""
    findings = [*_refusals(owner, groups, settings)]
    if is_locked and settings.get("usepam", ["yes"]) == ["no"]:
        text = f"sshd goes without PAM (UsePAM no), so it lets nobody in whose account is locked, and {owner}'s is"
        findings.append(wrong(Problem.PUSH_SSH_LOCKED, text, f"usermod --password '*' {owner}"))
    files = settings.get("authorizedkeysfile", [])
    has_command = settings.get("authorizedkeyscommand", ["none"]) != ["none"]
    if files and not key_files and not has_command:
        text = f"sshd looks for the keys of {owner} in {' and '.join(paths(files, owner, home))}, where there are none"
        mend = _match(owner, "keys", f"AuthorizedKeysFile {home}/.ssh/authorized_keys")
        findings.append(wrong(Problem.PUSH_SSH_KEYS_ELSEWHERE, text, mend))
    return findings or [ok(CHECK, f"sshd lets {owner} in")]


def _refusals(owner: str, groups: Collection[str], settings: Settings) -> Iterable[Finding]:
    if settings.get("pubkeyauthentication", ["yes"]) == ["no"]:
        text = f"sshd takes no keys (PubkeyAuthentication no), so nobody can push as {owner}"
        yield wrong(Problem.PUSH_SSH_REFUSES, text, _match(owner, "public-keys", "PubkeyAuthentication yes"))
    for keyword, names in (("AllowUsers", [owner]), ("AllowGroups", groups)):
        patterns = settings.get(keyword.lower(), [])
        if patterns and not _fits(names, patterns):
            text = f"sshd lets in {' '.join(patterns)} alone ({keyword}), so that SSH refuses every push of {owner}"
            value = owner if keyword == "AllowUsers" else "*"
            yield wrong(Problem.PUSH_SSH_REFUSES, text, _match(owner, keyword.lower(), f"{keyword} {value}"))
    for keyword, names in (("DenyUsers", [owner]), ("DenyGroups", groups)):
        if _fits(names, settings.get(keyword.lower(), [])):
            text = f"sshd does not let {owner} in ({keyword}), so that SSH refuses every push: take it out there"
            yield wrong(Problem.PUSH_SSH_REFUSES, text)


def _fits(names: Collection[str], patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern.partition("@")[0]) for name in names for pattern in patterns)


def _match(owner: str, name: str, line: str) -> str:
    """Return the command that gives sshd a setting for that user alone."""
    file = f"{_DIRECTORY}/10-tinyci-{name}.conf"
    return f"printf 'Match User %s\\n    %s\\n' {owner} '{line}' >{file} && systemctl reload ssh"


def paths(files: Collection[str], owner: str, home: str) -> list[str]:
    """Return the paths that AuthorizedKeysFile= names for a user."""
    names = [file.replace("%h", home).replace("%u", owner).replace("%%", "%") for file in files if file != "none"]
    return [name if name.startswith("/") else f"{home}/{name}" for name in names]


async def look(system: System, owner: str) -> list[Finding]:
    """Judge the login of the user as whom people push. As root alone."""
    entry = user_entry(owner)
    if entry is None or not system.exists(_SSHD):
        return [unchecked(CHECK, "there is no sshd, so nobody pushes over SSH")]
    result = await system.run(_SSHD, "-T", "-C", f"user={owner},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22")
    if result.status:
        return [unchecked(CHECK, f"sshd does not tell its settings: {result.last}")]
    settings = parse_settings(result.out)
    groups = (await system.run("id", "-Gn", owner)).out.split()
    password = (await system.run("getent", "shadow", owner)).out.split(":")
    candidates = paths(settings.get("authorizedkeysfile", []), owner, entry.pw_dir)
    key_files = [path for path in candidates if system.exists(path)]
    is_locked = len(password) > 1 and password[1].startswith("!")
    return judge(owner, entry.pw_dir, groups, settings, key_files, is_locked=is_locked)
