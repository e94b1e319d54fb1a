"""The decision which event is worth a message."""

from collections.abc import Collection

from tinyci.model.state import BAD, CONCLUSIVE, State
from tinyci.notify.event import JobEvent


class NoticePolicy:
    """The decision, which depends on the last deploy of the repo that was conclusive (model/state.py)."""

    def __init__(self, failing_repos: Collection[str] = ()) -> None:
        self.failing_repos = set(failing_repos)
        """Repos whose last conclusive deploy failed."""

    def judge(self, event: JobEvent, notices: Collection[str]) -> str:
        """Return the notice (NOTICES in model/repo.py) that the event is worth, out of `notices`; empty if none is."""
        if event.state == State.SUPERSEDED:  # the job that superseded it has an end of its own
            return ""
        reasons = ["deploy"]
        if event.state in BAD:
            self.failing_repos.add(event.repo)
            reasons = ["failure", "deploy"]
        elif event.state in CONCLUSIVE and event.repo in self.failing_repos:
            self.failing_repos.discard(event.repo)
            reasons = ["recovery", "deploy"]
        if "never" in notices:
            return ""
        return next((reason for reason in reasons if reason in notices), "")

    def keep_only(self, repos: Collection[str]) -> None:
        """Forget all other repos."""
        self.failing_repos &= set(repos)
