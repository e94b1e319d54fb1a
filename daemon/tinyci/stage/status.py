"""The Status of a stage's unit: the verdict and the sentence that the daemon reads."""

from tinyci.model.stagecontract import Status, Verdict


class StageError(Exception):
    """A stage ends without success; one sentence, and the verdict."""

    def __init__(self, sentence: str, verdict: Verdict = Verdict.FAILED) -> None:
        super().__init__(sentence)
        self.verdict = verdict


def report(verdict: Verdict, sentence: str) -> None:
    """Make the verdict the unit's Status (sd_notify(3)), which the daemon reads as StatusText."""
    from sdnotify import SystemdNotifier

    SystemdNotifier().notify(f"STATUS={Status(verdict, sentence)}")
