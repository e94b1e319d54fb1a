"""The text of a message, its urgency and its link."""

import json
from typing import NamedTuple

from tinyci.model.state import BAD, CONCLUSIVE, FINAL, State
from tinyci.model.text import short_ref
from tinyci.notify.digest import Digest
from tinyci.notify.event import JobEvent

MAX_BODY = 3500
"""Bytes of a body as JSON: above 4096 ntfy makes a file of it, and Apprise of 8000 with its escapes."""
_MAX_TITLE = 200

_GOOD = CONCLUSIVE - BAD
_ORDER = sorted(BAD) + sorted(FINAL - CONCLUSIVE) + sorted(_GOOD)
"""States in the order in which they are counted up."""


class NotSentError(Exception):
    """The message was not taken; a clause that says why, as far as is known, and contains nothing of the URL."""


class Message(NamedTuple):
    """Plain text, for any service."""

    title: str
    body: str
    kind: str
    """`failure`, `success` or `info`: the NotifyType of Apprise."""
    priority: str
    """`high`, `default` or `low`, in ntfy's words."""
    tag: str
    """The shortcode of an emoji, as ntfy knows it."""
    click: str
    """URL of the job's page; empty without pages."""

    @classmethod
    def of(cls, digest: Digest, web_url: str) -> "Message":
        """Return the message about a digest. `web_url` ends in a slash; empty without pages."""
        last = digest.last
        if last.state in BAD:
            kind, priority, tag = "failure", "high", "rotating_light"
        elif digest.is_recovery:
            kind, priority, tag = "success", "default", "white_check_mark"
        elif last.state == State.UNCHANGED:
            kind, priority, tag = "info", "low", "heavy_equals_sign"
        elif last.state in _GOOD:
            kind, priority, tag = "success", "low", "white_check_mark"
        else:
            kind, priority, tag = "info", "low", "no_entry_sign"
        click = f"{web_url}jobs/{last.job}" if web_url and last.job else ""
        return cls(_title(digest), _body(digest), kind, priority, tag, click)

    @classmethod
    def test(cls, web_url: str) -> "Message":
        """Return the message of `tinyci-notify --test`."""
        text = "This is what messages of tinyci look like. Nothing was deployed."
        return cls("tinyci: a test", text, "info", "default", "wave", web_url)


def _title(digest: Digest) -> str:
    at = _at(digest.last) if digest.last.revision != "tip" else ""
    return f"{digest.repo}: {_summary(digest)} – {short_ref(digest.last.ref)}{at}"[:_MAX_TITLE]  # noqa: RUF001 - a dash


def _summary(digest: Digest) -> str:
    """Return `failed`, `failed, then recovered` or `7 deploys, last failed`."""
    is_recovery = digest.is_recovery and digest.last.state in _GOOD
    last = "recovered" if is_recovery else digest.last.state
    if digest.total == 1:
        return last
    if digest.total == 2 and digest.failure and digest.is_recovery:
        return f"{digest.failure.state}, then {last}"
    return f"{digest.total} deploys, last {last}"


def _body(digest: Digest) -> str:
    last = digest.last
    # The failure is of more interest than a success or a cancelled job that followed.
    main = digest.failure if digest.failure and last.state not in BAD else last
    if digest.total > 1:
        counts = ", ".join(f"{digest.counts[state]} {state}" for state in _ORDER if state in digest.counts)
        events = [last] if main is last else [last, main]
        lines = [f"{counts} since {digest.since[11:19]} UTC."]
        lines += [f"{short_ref(event.ref)}{_at(event)}: {_sentence(event)}" for event in events]
    else:
        sentence = _sentence(main)
        lines = [sentence[:1].upper() + sentence[1:]]
    output = main.output.split("\n") if main.state in BAD and main.output else []
    if output == [f"tinyci: {main.reason}"]:  # the build stage has printed the reason itself
        output = []
    return _fit("\n".join(lines), output)


def _at(event: JobEvent) -> str:
    return f" at {event.revision[:7]}" if event.revision else ""


def _sentence(event: JobEvent) -> str:
    took = f" after {event.took} s" if event.took else ""
    end = f": {event.reason}" if event.reason else "."
    stop = "" if end[-1] in ".!?" else "."
    pusher = f" Pushed by {event.pusher}." if event.pusher else ""
    return f"{event.state}{took}{end}{stop}{pusher}"


def _fit(text: str, output: list[str]) -> str:
    """Return the text and the output in MAX_BODY: first lines are cut off the output, then the end off the text."""

    def body() -> str:
        return "\n".join([text, "", *output]) if output else text

    while len(json.dumps(body())) > MAX_BODY:
        if output:
            del output[0]
        else:
            text = f"{text[: len(text) * 9 // 10 - 1]}…"
    return body()
