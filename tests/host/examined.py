"""`tinyci doctor` on a test host, and its mends."""

import json
from typing import NamedTuple

from breaking import Broken
from testhost import TestHost


class Seen(NamedTuple):
    """A finding, as `tinyci doctor --json` has it."""

    about: str
    check: str
    verdict: str
    sentence: str
    mend: str


def doctor(server: TestHost, subject: str, user: str = "root") -> list[Seen]:
    done = server.run(f"tinyci doctor {subject} --json", user)
    told = json.loads(done.out)
    seen = [Seen(**finding) for finding in told["findings"]]
    assert done.status == (0 if told["healthy"] else 1), done.text
    assert told["healthy"] == (not wrong(seen))
    return seen


def wrong(seen: list[Seen]) -> list[Seen]:
    return [each for each in seen if each.verdict == "wrong"]


def named(seen: list[Seen], each: Broken) -> Seen:
    """What doctor says of it."""
    found = [
        one
        for one in wrong(seen)
        if one.check == each.check and each.says in one.sentence and each.about in one.sentence
    ]
    assert found, (each.check, each.says, each.about, wrong(seen))
    # For whoever asks pytest for it (-rP): all that doctor knows, as it says it.
    print(f"{found[0].check}: {found[0].sentence}\n    {found[0].mend or each.by or 'a person decides'}")
    return found[0]


def mend(server: TestHost, seen: list[Seen]) -> None:
    """Run what is printed, from the top, each command once."""
    commands = dict.fromkeys(each.mend for each in wrong(seen) if each.mend)
    server.sh("\n".join(("set -ex", *commands)))
