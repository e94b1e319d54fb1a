"""Writes a file of users for Nginx, as standard input says, and says "written" when it was not so.

usage: users.py FILE GROUP    standard input: JSON, from names to passwords, or to hashes of them as in crypt(5)

A password whose hash is in the file keeps it: a hash made anew would have another salt, and be another.
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
    known = dict(line.split(":", 1) for line in before.splitlines())
    lines = []
    for name, word in json.load(sys.stdin).items():
        if not re.fullmatch(r"[^\s:#][^\n:]*", name) or not isinstance(word, str) or not word or "\n" in word:
            sys.exit(f"{name!r} cannot log in: a name has no ':', and a password is a text of one line")
        lines.append(f"{name}:{word if HASH.fullmatch(word) else hashed(word, known.get(name, ''))}\n")
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


def hashed(password: str, known: str) -> str:
    """SHA-512 as in crypt(5): the known one, if it is of that password."""
    found = re.fullmatch(r"\$6\$([^$]+)\$.+", known)
    if found and (again := digest(password, "-salt", found[1])) == known:
        return again
    return digest(password)


def digest(password: str, *options: str) -> str:
    # Not as an argument, which everybody on the server could read.
    command = ["openssl", "passwd", "-6", *options, "-stdin"]
    return subprocess.run(command, input=password, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
