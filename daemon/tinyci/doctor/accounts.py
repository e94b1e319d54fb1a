"""The accounts that tinyci's own processes run as."""

import grp
import pwd
from collections.abc import Collection

from tinyci.doctor import files
from tinyci.doctor.finding import Finding, ok, wrong
from tinyci.doctor.problems import Problem

_USERS = ("tinyci",)
_GROUPS = ("tinyci", "tinyci-redis", "tinyci-push")


def judge_accounts(users: Collection[str], groups: Collection[str]) -> Finding:
    missing = [f"user {name}" for name in _USERS if name not in users]
    missing += [f"group {name}" for name in _GROUPS if name not in groups]
    if missing:
        text = f"there is no {' and no '.join(missing)}, and tinyci runs as these"
        return wrong(Problem.ACCOUNTS_MISSING, text, f"systemd-sysusers {files.SYSUSERS}")
    return ok("accounts", "tinyci's users and groups are there")


def look() -> list[Finding]:
    return [judge_accounts({each.pw_name for each in pwd.getpwall()}, {each.gr_name for each in grp.getgrall()})]
