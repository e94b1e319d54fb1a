"""`tinyci doctor` on a test host, and its mends."""

import json
from typing import NamedTuple

from box import Box


class Seen(NamedTuple):
    """A finding, as `tinyci doctor --json` has it."""

    about: str
    check: str
    verdict: str
    sentence: str
    mend: str


def doctor(box: Box, subject: str, user: str = "root") -> list[Seen]:
    done = box.run(f"tinyci doctor {subject} --json", user)
    told = json.loads(done.out)
    seen = [Seen(**finding) for finding in told["findings"]]
    assert done.status == (0 if told["healthy"] else 1), done.text
    assert told["healthy"] == (not wrong(seen))
    return seen


def wrong(seen: list[Seen]) -> list[Seen]:
    return [each for each in seen if each.verdict == "wrong"]


def mend(box: Box, seen: list[Seen]) -> None:
    """Run what is printed, from the top, each command once."""
    commands = dict.fromkeys(each.mend for each in wrong(seen) if each.mend)
    box.sh("\n".join(("set -ex", *commands)))
