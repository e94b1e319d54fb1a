"""`tinyci doctor` on a test host, and its mends."""

import json
from typing import NamedTuple

from breaking import Broken
from testhost import TestHost


class SeenFinding(NamedTuple):
    """A finding, as `tinyci doctor --json` has it."""

    about: str
    check: str
    verdict: str
    sentence: str
    mend: str
    problem: str


def doctor(server: TestHost, subject: str, user: str = "root") -> list[SeenFinding]:
    done = server.run(f"tinyci doctor {subject} --json", user)
    report = json.loads(done.out)
    findings = [SeenFinding(**finding) for finding in report["findings"]]
    assert done.status == (0 if report["healthy"] else 1), done.text
    assert report["healthy"] == (not wrong(findings))
    for each in findings:
        assert each.problem.startswith(f"{each.check}/") if each.verdict == "wrong" else not each.problem, each
    return findings


def wrong(findings: list[SeenFinding]) -> list[SeenFinding]:
    return [each for each in findings if each.verdict == "wrong"]


def named(findings: list[SeenFinding], broken: Broken) -> SeenFinding:
    """The finding on that problem. Fails when there is none, or it does not say the words."""
    matches = [
        each
        for each in wrong(findings)
        if each.problem == broken.problem and broken.says in each.sentence and broken.about in each.sentence
    ]
    assert matches, (broken.problem, broken.says, broken.about, wrong(findings))
    # For whoever asks pytest for it (-rP): all that doctor knows, as it says it.
    print(f"{matches[0].problem}: {matches[0].sentence}\n    {matches[0].mend or broken.by or 'a person decides'}")
    return matches[0]


def mend(server: TestHost, findings: list[SeenFinding]) -> None:
    """Run the mends as printed, from the top, each command once."""
    commands = dict.fromkeys(each.mend for each in wrong(findings) if each.mend)
    server.sh("\n".join(("set -ex", *commands)))
