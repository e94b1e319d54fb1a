"""The person who pushes: the name, the push options, and lines to the terminal at the other end."""

import os
import sys

OPTIONS = ("follow", "skip")
_NAME_MAX = 300
"""Characters, as many as the pages show."""


def name() -> str:
    """Return the name in the SSH key's entry (TINYCI_PUSHER), or the account that runs git."""
    if entry := os.environ.get("TINYCI_PUSHER", ""):
        return entry[:_NAME_MAX]  # the daemon takes no file from the spool that is long
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def late_groups() -> list[str]:
    """Return the groups that the account has got since the connection began (getgrouplist(3)): they hold from the next
    one on."""
    import grp
    import pwd

    try:
        account = pwd.getpwuid(os.getuid())
        ids = {*os.getgrouplist(account.pw_name, account.pw_gid)} - {*os.getgroups(), os.getgid()}
        return sorted(grp.getgrgid(gid).gr_name for gid in ids)
    except KeyError:
        return []


def options() -> frozenset[str]:
    """Return the options of `git push -o` (githooks(5)), and tell the pusher of unknown ones."""
    options: list[str] = []
    count = os.environ.get("GIT_PUSH_OPTION_COUNT", "0")
    while str(len(options)) != count and (option := os.environ.get(f"GIT_PUSH_OPTION_{len(options)}")) is not None:
        options.append(option)
    for option in options:
        if option not in OPTIONS:
            say(f"there is no push option {option!r}: expected {' or '.join(OPTIONS)}; the push goes on without it.")
    return frozenset(options)


def say(sentence: str) -> None:
    """Write one line to the pusher. One who is gone is no error: the jobs of the other refs are made all the same."""
    if not sentence.isprintable():  # git lets a ref have all but ASCII's control characters
        from tinyci.model.text import visible

        sentence = visible(sentence)
    try:
        sys.stdout.buffer.write(os.fsencode(sentence) + b"\n")
        sys.stdout.buffer.flush()
    except OSError:
        return
