"""Reports of an examination: for a person at a terminal, for a pipe, and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from tinyci.cli.terminal import safe
from tinyci.doctor.finding import NEEDS_ROOT, Finding, Verdict

_COLOURS = {Verdict.OK: "32", Verdict.WRONG: "31", Verdict.UNCHECKED: "33"}


def is_healthy(findings: Sequence[Finding]) -> bool:
    return all(each.verdict is not Verdict.WRONG for each in findings)


def as_object(findings: Sequence[Finding]) -> dict[str, object]:
    """The object for JSON; texts are unchanged."""
    return {"healthy": is_healthy(findings), "findings": [asdict(each) for each in findings]}


def plain(findings: Sequence[Finding]) -> Iterator[str]:
    """One line for each finding: verdict, subject, check, sentence and mend, between tabs."""
    for each in findings:
        yield "\t".join((str(each.verdict), each.about, each.check, _line(each.sentence), each.mend))


def table(findings: Sequence[Finding], *, everything: bool, colours: bool) -> Iterator[str]:
    """A row for each subject with what holds, then what is wrong, with its mend on a line of its own to copy."""

    def paint(verdict: Verdict, text: str) -> str:
        return f"\033[{_COLOURS[verdict]}m{text}\033[0m" if colours else text

    subjects = list(dict.fromkeys(each.about for each in findings))
    width = max((len(subject) for subject in subjects), default=0)
    for subject in subjects:
        own = [each for each in findings if each.about == subject]
        counts = {verdict: sum(each.verdict is verdict for each in own) for verdict in Verdict}
        parts = [
            paint(verdict, f"{counts[verdict]} {name}")
            for verdict, name in ((Verdict.OK, "ok"), (Verdict.WRONG, "wrong"), (Verdict.UNCHECKED, "not checked"))
            if counts[verdict]
        ]
        yield f"{subject:<{width}}  {', '.join(parts)}"
        for each in own:
            if everything:
                verdict = paint(each.verdict, f"{each.verdict:<9}")
                yield f"{'':<{width}}  {verdict} {each.check:<22} {_line(each.sentence)}"
    bad = [each for each in findings if each.verdict is Verdict.WRONG]
    if bad:
        yield ""
        yield "From the top, since what is wrong may come of what stands above it:"
    for each in bad:
        yield ""
        yield f"{paint(Verdict.WRONG, each.check)} ({each.about}): {_line(each.sentence)}."
        yield (
            f"    {each.mend}"
            if each.mend
            else "    No command of its own: what stands above mends it, or it is for a person to decide."
        )
    gaps = [each for each in findings if each.verdict is Verdict.UNCHECKED]
    if need := sum(each.sentence == NEEDS_ROOT for each in gaps):
        yield ""
        yield f"{need} checks need root: 'sudo tinyci doctor' makes them."
    elif not bad:
        yield ""
        yield "All is well." if not gaps else "Nothing is wrong with what could be checked."


def _line(text: str) -> str:
    """One line that no terminal obeys: programs and people wrote parts of it."""
    return safe(" ".join(text.split()))
