"""The texts of messages, which no terminal and no chat recipient obeys, and the lines of recipients."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.notify.digest import Digest
from tinyci.notify.event import JobEvent
from tinyci.notify.message import MAX_BODY, Message
from tinyci.notify.plaintext import last_lines, one_line, without_mentions
from tinyci.notify.recipients import Recipients, UrlError

ID = "0d313b1e-cca8-11ec-8c59-67453021b8a9"
URL = "https://ci.example.org/"


def event(state: str = "failed", **more: str) -> JobEvent:
    whole = JobEvent(
        ID, "web", "refs/heads/main", "1a2b3c4" + "d" * 33, "alice", state, "", "2026-01-02T03:04:05.000006Z"
    )
    return whole._replace(**{"took": "12.3", **more})


def digest(*states: str, notice: str = "failure", **more: str) -> Digest:
    parts = [Digest.of(event(state, **more), "failure", 0.0) for state in states]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole._replace(is_recovery=notice == "recovery")


# -- how they read -----------------------------------------------------------------------------------------------


def test_a_failure_says_what_why_and_how_it_ended() -> None:
    failure = digest("failed", reason="ci-build.sh ended with status 3", output="building\nno such file")
    assert Message.of(failure, URL) == Message(
        "web: failed \u2013 main at 1a2b3c4",
        "Failed after 12.3 s: ci-build.sh ended with status 3. Pushed by alice.\n\nbuilding\nno such file",
        "failure",
        "high",
        "rotating_light",
        f"{URL}jobs/{ID}",
    )


@pytest.mark.parametrize(
    ("whole", "title", "body", "priority", "tag"),
    [
        (digest("succeeded", notice="recovery"), "recovered", "Succeeded after 12.3 s.", "default", "white_check_mark"),
        (digest("succeeded", notice="deploy"), "succeeded", "Succeeded after 12.3 s.", "low", "white_check_mark"),
        (digest("unchanged", notice="deploy"), "unchanged", "Unchanged after 12.3 s.", "low", "heavy_equals_sign"),
        (digest("rolled-back"), "rolled-back", "Rolled-back after 12.3 s.", "high", "rotating_light"),
        (digest("cancelled", took=""), "cancelled", "Cancelled.", "low", "no_entry_sign"),
        (
            digest("failed", "succeeded", notice="recovery"),
            "failed, then recovered",
            "1 failed, 1 succeeded since 03:04:05 UTC.\nmain at 1a2b3c4: succeeded after 12.3 s. Pushed by alice.\n"
            "main at 1a2b3c4: failed after 12.3 s.",
            "default",
            "white_check_mark",
        ),
        (
            digest(*["failed"] * 37, *["timed-out"] * 3),
            "40 deploys, last timed-out",
            "37 failed, 3 timed-out since 03:04:05 UTC.\nmain at 1a2b3c4: timed-out after 12.3 s.",
            "high",
            "rotating_light",
        ),
    ],
)
def test_other_ends_read_as_they_are(whole: Digest, title: str, body: str, priority: str, tag: str) -> None:
    message = Message.of(whole, "")
    assert message.title == f"web: {title} \u2013 main at 1a2b3c4"
    assert message.body == f"{body} Pushed by alice."
    assert (message.priority, message.tag, message.click) == (priority, tag, "")


@pytest.mark.parametrize(
    ("ref", "name"), [("refs/heads/main", "main"), ("refs/tags/v1.2", "v1.2"), ("refs/merge/7", "merge/7")]
)
def test_a_ref_is_short_in_title_and_body(ref: str, name: str) -> None:
    message = Message.of(digest("failed", "failed", ref=ref), "")
    assert message.title.endswith(f" \u2013 {name} at 1a2b3c4")
    assert f"\n{name} at 1a2b3c4: failed" in message.body


def test_what_the_build_stage_said_is_not_said_twice() -> None:
    rejection = digest("rejected", reason="no such revision", output="tinyci: no such revision")
    assert Message.of(rejection, "").body == "Rejected after 12.3 s: no such revision. Pushed by alice."


def test_a_job_that_named_no_repo_is_told_as_such() -> None:
    parsed_event = JobEvent.parse(
        {"job": "x\n", "repo": "no/name", "ref": "x" * 1000, "state": "rejected", "reason": "wrong"}
    )
    assert parsed_event
    message = Message.of(Digest.of(parsed_event, "failure", 0.0), URL)
    assert message.title.startswith("?: rejected \u2013 xxx")
    assert message.click == ""


@given(st.text(), st.text(), st.text(max_size=5000))
def test_no_message_is_too_long_or_holds_what_a_terminal_obeys(ref: str, reason: str, output: str) -> None:
    parsed_event = JobEvent.parse(
        {"job": ID, "repo": "web", "ref": ref, "revision": ref, "reason": reason, "state": "failed"}
    )
    assert parsed_event
    message = Message.of(Digest.of(parsed_event.with_details({"output": output * 5}), "failure", 0.0), URL)
    assert len(json.dumps(message.body)) <= MAX_BODY
    assert len(message.title) <= 200
    assert "\n" not in message.title
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", message.title + message.body
    )


# -- text of others ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("a\r\nX-Injected: 1", "aX-Injected: 1"),
        ("a\x00\x08\x7f\u202eb\u200b", "ab"),
        ("\U0001f469\u200d\U0001f4bb \u0646\u200c\u0647", "\U0001f469\u200d\U0001f4bb \u0646\u200c\u0647"),
        ("\x9b31mb\x1b", "b"),
        ("<script>alert(1)</script> & *x*", "<script>alert(1)</script> & *x*"),
        ("x" * 300, "x" * 99 + "…"),
    ],
)
def test_a_line_is_plain_text(text: str, plain: str) -> None:
    assert one_line(text, 100) == plain


def test_the_last_lines_are_kept_and_of_a_line_that_is_written_over_its_last_state() -> None:
    assert last_lines("1\n2\n3\n4\n\n", 3, 100) == "2\n3\n4"
    assert last_lines("10%\r50%\r100%\ndone", 3, 100) == "100%\ndone"
    assert last_lines("a\n" + "x" * 300, 3, 100) == "…" + "x" * 99
    assert last_lines("", 3, 100) == ""


def test_megabytes_take_no_time(benchmark_seconds: float = 0.5) -> None:
    import time

    began = time.monotonic()
    for text in ("x" * 5_000_000, "\x1b[" * 2_000_000, "\x1b]" * 2_000_000, "\n" * 5_000_000):
        one_line(text, 500)
        last_lines(text, 12, 1200)
    assert time.monotonic() - began < benchmark_seconds * 4


@pytest.mark.parametrize("text", ["@everyone", "<!channel>", "<@U123>", "<#C1>", "hey @here", "@&123", "<@&1>"])
def test_nobody_is_mentioned(text: str) -> None:
    harmless_text = without_mentions(text)
    assert harmless_text.replace("\u2060", "") == text
    assert not re.search(r"@\w|<[!@#]|@&", harmless_text)


# -- whom to tell ------------------------------------------------------------------------------------------------


def names_and_repos(text: str) -> list[tuple[str, frozenset[str]]]:
    return [(recipient.name, recipient.repos) for recipient in Recipients.parse(text, lambda _: "h").valid]


def test_lines_are_urls_with_repos_and_comments() -> None:
    text = "# mine\n\n ntfy://h/a \n; or\nweb, mail=ntfy://h/b?tags=x=y\napi=json://h\n"
    assert names_and_repos(text) == [
        ("ntfy://h (line 3)", frozenset()),
        ("ntfy://h (line 5)", frozenset({"web", "mail"})),
        ("json://h (line 6)", frozenset({"api"})),
    ]
    recipients = Recipients.parse(text, lambda _: "h")
    assert [recipient.wants("web") for recipient in recipients.valid] == [True, True, False]
    assert recipients.repos() == ["api", "mail", "web"]


def test_the_same_url_twice_is_one_recipient() -> None:
    assert names_and_repos("web=json://h\nmail=json://h") == [("json://h (line 1)", frozenset({"web", "mail"}))]
    assert names_and_repos("web=json://h\njson://h") == [("json://h (line 1)", frozenset())]


@pytest.mark.parametrize(
    ("line", "clause"),
    [
        ("include=/etc/secret", "expected a URL such as ntfy://HOST/TOPIC, or REPO=URL"),
        ("tk_secret", "expected a URL"),
        ("we$b=json://tk_secret", "expected the names of repos between commas before '='"),
        ("json://tk_secret", "json:// is wrong"),
        ("web=json://tk_secret", "json:// is wrong"),
    ],
)
def test_a_wrong_line_is_named_without_what_is_in_it_and_stops_no_other(line: str, clause: str) -> None:
    def public_host(url: str) -> str:
        if "secret" in url:
            raise UrlError("is wrong")
        return "h"

    recipients = Recipients.parse(f"ntfy://h/a\n{line}\nntfy://h/b", public_host)
    assert [recipient.name for recipient in recipients.valid] == ["ntfy://h (line 1)", "ntfy://h (line 3)"]
    (sentence,) = recipients.errors
    assert sentence.startswith(f"line 2: {clause}")
    assert "secret" not in sentence


def test_a_recipient_does_not_show_its_url() -> None:
    (recipient,) = Recipients.parse("json://user:secret@h/token", lambda _: "h").valid
    assert "secret" not in f"{recipient!r} {recipient} {recipient.name} {recipient.key}"
