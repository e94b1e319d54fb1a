"""Writes the users in standard input to a file for Nginx, and prints "written" if the file was another.

usage: users.py FILE GROUP    standard input: JSON, from names to passwords or to their hashes (crypt(5))

A password keeps the hash that it has in the file: a new one would have another salt, so each run would change the file.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HASH = re.compile(r"\$(?:1|apr1|2[aby]|5|6|y)\$[^\s:]+")


def main() -> None:
    path, group = Path(sys.argv[1]), sys.argv[2]
    before = path.read_text() if path.exists() else ""
    old_hashes = dict(line.split(":", 1) for line in before.splitlines())
    lines = []
    for name, word in json.load(sys.stdin).items():
        if not re.fullmatch(r"[^\s:#][^\n:]*", name) or not isinstance(word, str) or not word or "\n" in word:
            sys.exit(f"{name!r} cannot log in: a name has no ':', and a password is a text of one line")
        lines.append(f"{name}:{word if HASH.fullmatch(word) else hash_of(word, old_hashes.get(name, ''))}\n")
    if "".join(lines) == before:
        return
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as file:
        file.writelines(lines)
    shutil.chown(new, "root", group)
    new.chmod(0o640)
    new.replace(path)
    print("written")


def hash_of(password: str, old_hash: str) -> str:
    """Return the SHA-512 hash of crypt(5): the old one, if it is of that password."""
    match = re.fullmatch(r"\$6\$([^$]+)\$.+", old_hash)
    if match and digest(password, "-salt", match[1]) == old_hash:
        return old_hash
    return digest(password)


def digest(password: str, *options: str) -> str:
    # Not as an argument, which everybody on the server could read.
    command = ["openssl", "passwd", "-6", *options, "-stdin"]
    return subprocess.run(command, input=password, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
