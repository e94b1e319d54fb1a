"""Which event is worth a message."""

from collections.abc import Collection

from tinyci.model.state import BAD, CONCLUSIVE, State
from tinyci.notify.event import JobEvent


class NoticePolicy:
    """Knows which repos are in trouble: their last deploy that came to an end of its own has failed. One that was
    cancelled or superseded says nothing of a repo."""

    def __init__(self, failing_repos: Collection[str] = ()) -> None:
        self.failing_repos = set(failing_repos)

    def judge(self, event: JobEvent, words: Collection[str]) -> str:
        """For which of NOTICES (repo.py) people are to be told of this event; empty when for none of `words`."""
        if event.state == State.SUPERSEDED:
            return ""
        found = []
        if event.state in BAD:
            self.failing_repos.add(event.repo)
            found = ["failure"]
        elif event.state in CONCLUSIVE and event.repo in self.failing_repos:
            self.failing_repos.discard(event.repo)
            found = ["recovery"]
        if "never" in words:
            return ""
        return next((word for word in (*found, "deploy") if word in words), "")

    def keep_only(self, repos: Collection[str]) -> None:
        """What is no repo any more is not remembered."""
        self.failing_repos &= set(repos)
