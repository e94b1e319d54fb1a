"""How a digest reads: title, body, urgency, and where a click leads."""

import json
from typing import NamedTuple

from tinyci.model.state import BAD, CONCLUSIVE, FINAL
from tinyci.model.text import short_ref
from tinyci.notify.digest import Digest
from tinyci.notify.event import JobEvent

MOST = 3500
"""Bytes of a body as JSON: above 4096 ntfy makes a file of it, and Apprise of 8000 with its escapes."""

_GOOD = CONCLUSIVE - BAD
_ORDER = sorted(BAD) + sorted(FINAL - CONCLUSIVE) + sorted(_GOOD)


class Message(NamedTuple):
    """Plain text, for any service."""

    title: str
    body: str
    kind: str
    """`failure`, `success` or `info`: the NotifyType of Apprise."""
    priority: str
    """`high`, `default` or `low`, by ntfy's words."""
    tag: str
    """The shortcode of an emoji, as ntfy knows it."""
    click: str
    """Where the pages have more of it; empty when there are none."""

    @classmethod
    def of(cls, digest: Digest, web_url: str) -> "Message":
        last = digest.last
        if last.state in BAD:
            manner = ("failure", "high", "rotating_light")
        elif digest.is_recovery:
            manner = ("success", "default", "white_check_mark")
        elif last.state in _GOOD:
            manner = ("success", "low", "white_check_mark")
        else:
            manner = ("info", "low", "no_entry_sign")
        click = f"{web_url}jobs/{last.job}" if web_url and last.job else ""
        return cls(_title(digest), _body(digest), *manner, click)

    @classmethod
    def test(cls, web_url: str) -> "Message":
        """For whoever wants to see that messages arrive."""
        text = "This is what messages of tinyci look like. Nothing was deployed."
        return cls("tinyci: a test", text, "info", "default", "wave", web_url)


def _title(digest: Digest) -> str:
    last = digest.last
    if digest.total > 1:
        end = _outcome(digest)
        before = ", then" if digest.total == 2 and digest.failure and digest.is_recovery else ""
        what = f"{digest.failure.state}{before} {end}" if before and digest.failure else ""
        what = what or f"{digest.total} deploys, last {end}"
    else:
        what = _outcome(digest)
    at = f" at {last.revision[:7]}" if last.revision and last.revision != "tip" else ""
    return f"{digest.repo}: {what} – {short_ref(last.ref)}{at}"[:200]  # noqa: RUF001 - the dash is meant


def _outcome(digest: Digest) -> str:
    """The state of the last deploy in a word."""
    return "recovered" if digest.is_recovery and digest.last.state in _GOOD else digest.last.state


def _body(digest: Digest) -> str:
    last, shown = digest.last, digest.last
    if digest.failure and last.state not in BAD:
        shown = digest.failure
    if digest.total > 1:
        counts = ", ".join(f"{digest.counts[state]} {state}" for state in _ORDER if state in digest.counts)
        lines = [f"{counts} since {digest.since[11:19]} UTC.", *([_named(last)] if shown is not last else [])]
        lines += [_named(shown)]
    else:
        sentence = _sentence(shown)
        lines = [sentence[:1].upper() + sentence[1:]]
    output = shown.output.split("\n") if shown.state in BAD and shown.output else []
    if output == [f"tinyci: {shown.reason}"]:  # the build stage has said the reason itself
        output = []
    return _fitting("\n".join(lines), output)


def _named(event: JobEvent) -> str:
    at = f" at {event.revision[:7]}" if event.revision else ""
    return f"{short_ref(event.ref)}{at}: {_sentence(event)}"


def _sentence(event: JobEvent) -> str:
    took = f" after {event.took} s" if event.took else ""
    end = f": {event.reason}" if event.reason else "."
    pushed = f" Pushed by {event.pusher}." if event.pusher else ""
    return f"{event.state}{took}{end}{'' if end[-1] in '.!?' else '.'}{pushed}"


def _fitting(text: str, output: list[str]) -> str:
    """What fits: the beginning of the text, and the end of the output."""

    def whole() -> str:
        return "\n".join([text, "", *output]) if output else text

    while len(json.dumps(whole())) > MOST:
        if output:
            del output[0]
        else:
            text = f"{text[: len(text) * 9 // 10 - 1]}…"
    return whole()
