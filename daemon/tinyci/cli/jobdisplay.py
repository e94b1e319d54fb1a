"""Displays of a job that is followed: its output, its stages, its result."""

import sys
from collections.abc import Sequence
from typing import Protocol

from tinyci.cli.jobnames import ListedJob, short
from tinyci.cli.terminal import Progress, has_colours, safe


class Display(Protocol):
    """The party that a job is shown to."""

    def lines(self, lines: Sequence[str]) -> None:
        """Show output of the build."""

    def stage(self, job: ListedJob, state: str) -> None:
        """Show a new state."""

    def note(self, sentence: str) -> None:
        """Show a remark about the following itself."""

    def result(self, sentence: str) -> None:
        """Show how the job ended."""


class OutputDisplay:
    """The output on stdout; with `stages`, the states and the result on stderr."""

    def __init__(self, *, stages: bool) -> None:
        self._stages = stages
        self._colours = has_colours(sys.stdout)

    def lines(self, lines: Sequence[str]) -> None:
        sys.stdout.write("".join(f"{safe(line, colours=self._colours)}\n" for line in lines))
        sys.stdout.flush()

    def stage(self, job: ListedJob, state: str) -> None:
        if self._stages:
            self.note(f"job {short(job.id)} of {job.repo}: {state}")

    def note(self, sentence: str) -> None:
        _note(sentence)

    def result(self, sentence: str) -> None:
        if self._stages:
            self.note(sentence)


class ResultDisplay:
    """The result on stdout; at a terminal, the state until then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def lines(self, lines: Sequence[str]) -> None:
        """Show nothing of the output."""

    def stage(self, job: ListedJob, state: str) -> None:
        self._progress.show(f"job {short(job.id)} of {job.repo}: {state}")

    def note(self, sentence: str) -> None:
        self._progress.clear()
        _note(sentence)

    def result(self, sentence: str) -> None:
        self._progress.clear()
        print(safe(sentence), flush=True)


def _note(sentence: str) -> None:
    print(f"tinyci: {safe(sentence)}", file=sys.stderr, flush=True)
