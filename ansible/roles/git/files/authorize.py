"""Writes the authorized_keys of git, and says "written" when it was not so.

usage: authorize.py FILE DIRECTORY    standard input: JSON, the keys that may push to every repository

Each NAME.json in DIRECTORY is an app: {"repository": PATH, "keys": KEYS}. A key is a line, or {"key": LINE,
"name": NAME}. As sshd takes the first line of a key, there is one line for it: for every repository, or for those of
all its apps. Lines above our own were written by hand; they stay where the list for every repository is empty.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

MARK = "# Written by Ansible"
HEAD = f"{MARK}: all below. key NAME [REPOSITORY...]: without a repository it may use every one."
BARE_KEY = re.compile(r"(?P<type>(?:ssh|ecdsa|sk)-\S+)\s+(?P<data>[A-Za-z0-9+/]+=*)(?:\s+(?P<comment>.*))?")
LIMITED = re.compile(r'restrict,command="key (\'[^\']*\'|[^ "\']+) ')
# sshd and git-shell each have their own way of quoting these.
NO_NAME = re.compile(r"[\"'\\\x00-\x1f\x7f]")

Key = tuple[str, str]
"""Its type and its data, by which sshd knows it."""


class BadKeyError(Exception):
    """A key that cannot be taken, and why."""


def lines_of(entry: Any) -> list[tuple[str, str]]:
    """Return the lines of an entry, each with the name that the entry gives."""
    if isinstance(entry, str):
        text, name = entry, ""
    elif isinstance(entry, dict) and isinstance(entry.get("key"), str) and set(entry) <= {"key", "name"}:
        text, name = entry["key"], str(entry.get("name") or "").strip()
    else:
        raise BadKeyError(f"{entry!r} is no key: write the line of a public key, or its key and its name")
    if NO_NAME.search(name):
        raise BadKeyError(f"{name!r} cannot be a key's name: leave out quotes, backslashes and control characters")
    lines = [line.strip() for line in text.splitlines()]
    return [(line, name) for line in lines if line and not line.startswith("#")]


def parse(line: str, name: str) -> tuple[Key, str]:
    """Return the key and its name."""
    match = BARE_KEY.fullmatch(line)
    if not match:
        raise BadKeyError(
            f"{line!r} has options of its own, or is no public key: only git_authorized_keys takes it, without a name"
        )
    try:
        digest = hashlib.sha256(base64.b64decode(match["data"], validate=True)).digest()
    except binascii.Error:
        raise BadKeyError(f"{line!r} is no public key: copy the whole line of the .pub file") from None
    comment = " ".join(NO_NAME.sub(" ", match["comment"] or "").split())
    fallback = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    return (match["type"], match["data"]), name or comment or fallback


def compose(name: str, repositories: list[str], line: str) -> str:
    """Return the line of a key in authorized_keys."""
    for repository in repositories:
        if NO_NAME.search(repository):
            raise BadKeyError(f"{repository!r} has a quote or a backslash in it: no key can be limited to it")
    return f'restrict,command="{shlex.join(["key", name, *repositories])}" {line}'


def assemble(everywhere: list[Any], apps: list[dict[str, Any]]) -> tuple[list[str], set[Key]]:
    """Return our lines, and the keys that are limited."""
    lines: list[str] = []
    unlimited: set[Key] = set()
    for each in everywhere:
        for line, name in lines_of(each):
            if not name and not BARE_KEY.fullmatch(line):
                unlimited |= key_within(line)
                lines.append(line)
                continue
            key, name = parse(line, name)
            if key not in unlimited:
                unlimited.add(key)
                lines.append(compose(name, [], line))
    limited: dict[Key, tuple[str, str, set[str]]] = {}
    for app in apps:
        for each in app["keys"]:
            for line, name in lines_of(each):
                key, name = parse(line, name)
                if key not in unlimited:
                    limited.setdefault(key, (name, line, set()))[2].add(app["repository"])
    lines += [compose(name, sorted(repositories), line) for name, line, repositories in limited.values()]
    return lines, set(limited)


def key_within(line: str) -> set[Key]:
    """Return the key of a line, which may have options."""
    match = re.search(rf"(?:^|\s){BARE_KEY.pattern}$", line.strip())
    return {(match["type"], match["data"])} if match else set()


def compute(old: list[str], everywhere: list[Any], apps: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the file, which were `old`."""
    lines, limited = assemble(everywhere, apps)
    if everywhere:
        return [HEAD, *lines]
    if not lines:  # the keys of apps that are gone
        return [line for line in old if not LIMITED.match(line)]
    end = next((place for place, line in enumerate(old) if line.startswith(MARK)), len(old))
    # A plain line would let a limited key in everywhere.
    by_hand = [line for line in old[:end] if not (BARE_KEY.fullmatch(line.strip()) and key_within(line) & limited)]
    return [*by_hand, HEAD, *lines]


def main() -> str:
    path, directory = Path(sys.argv[1]), Path(sys.argv[2])
    everywhere = json.load(sys.stdin)
    apps = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.glob("*.json"))]
    old = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.exists() else []
    lines = compute(old, everywhere, apps)
    if lines == old:
        return ""
    new = path.with_name(f"{path.name}.new")
    new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")
    os.chmod(new, 0o644)
    new.replace(path)
    return "written"


if __name__ == "__main__":
    try:
        print(main())
    except BadKeyError as error:
        sys.exit(str(error))
