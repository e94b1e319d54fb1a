"""`tinyci doctor` on a test host, and its mends."""

import json
from typing import NamedTuple

from breaking import Breakage
from testhost import TestHost


class JsonFinding(NamedTuple):
    """A finding, as `tinyci doctor --json` has it."""

    about: str
    check: str
    verdict: str
    sentence: str
    mend: str
    problem: str


def doctor(server: TestHost, subject: str, user: str = "root") -> list[JsonFinding]:
    result = server.run(f"tinyci doctor {subject} --json", user)
    report = json.loads(result.out)
    findings = [JsonFinding(**finding) for finding in report["findings"]]
    assert result.status == (0 if report["healthy"] else 1), result.text
    assert report["healthy"] == (not wrong(findings))
    for each in findings:
        assert each.problem.startswith(f"{each.check}/") if each.verdict == "wrong" else not each.problem, each
    return findings


def wrong(findings: list[JsonFinding]) -> list[JsonFinding]:
    return [each for each in findings if each.verdict == "wrong"]


def finding_on(findings: list[JsonFinding], breakage: Breakage) -> JsonFinding:
    """The finding on that problem. Fails when there is none, or it does not say the words."""
    matches = [
        each
        for each in wrong(findings)
        if each.problem == breakage.problem
        and breakage.words in each.sentence
        and breakage.subject_words in each.sentence
    ]
    assert matches, (breakage.problem, breakage.words, breakage.subject_words, wrong(findings))
    # For whoever asks pytest for it (-rP): all that doctor knows, as it says it.
    print(f"{matches[0].problem}: {matches[0].sentence}\n    {matches[0].mend or breakage.by or 'a person decides'}")
    return matches[0]


def mend(server: TestHost, findings: list[JsonFinding]) -> None:
    """Run the mends as printed, from the top, each command once."""
    commands = dict.fromkeys(each.mend for each in wrong(findings) if each.mend)
    server.sh("\n".join(("set -ex", *commands)))
