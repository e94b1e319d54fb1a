"""Whatever the daemon answers, a command prints lines that no terminal obeys, or JSON that is JSON, or one sentence
with an exit status."""

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import border, obeyed
from dbus_next import Message
from dbus_next.signature import Variant
from hypothesis import strategies as st
from peer import BODIES, STRINGS, Peer, reply, variants
from tinyci.cli import complete, pushfollow
from tinyci.cli.commands import COMMANDS, parser
from tinyci.cli.exitstatus import CommandError
from tinyci.model.fields import PROPERTIES
from tinyci.model.state import State

JOB = "0b2e4f6c-cca8-41ec-8c59-67453021b8a9"
PATH = f"/org/tinyci1/job/_{JOB.replace('-', '')}"
SGR = re.compile(r"\x1b\[[0-9;:]*m")
STATES = st.sampled_from([str(state) for state in State]) | STRINGS
ROWS = st.lists(
    st.tuples(st.just(JOB) | STRINGS, STRINGS | st.just("web"), STRINGS, STATES, st.just(PATH)).map(list), max_size=3
)
REPOS = st.lists(
    st.tuples(
        STRINGS | st.just("web"), STRINGS, STRINGS, st.lists(STRINGS, max_size=2), st.lists(STRINGS, max_size=2)
    ).map(list),
    max_size=3,
)
LINES = st.lists(STRINGS, max_size=3)
EVENTS = st.lists(
    st.dictionaries(st.sampled_from(["at", "state", "repo", "ref", "job", "reason"]) | STRINGS, STRINGS, max_size=6),
    max_size=3,
)
TYPED = {"s": STRINGS, "b": st.booleans(), "u": st.integers(0, 2**32 - 1), "i": st.integers(-9, 99), "d": st.floats()}
USUAL = {"s": "", "b": False, "u": 0, "i": -1, "d": 0.0}
JOB_PROPERTIES = st.dictionaries(
    st.sampled_from(PROPERTIES).flatmap(lambda field: st.tuples(st.just(field), TYPED[field.signature])),
    st.none(),
    max_size=5,
).map(
    lambda chosen: (
        {field.property_name: Variant(field.signature, USUAL[field.signature]) for field in PROPERTIES}
        | {field.property_name: Variant(field.signature, value) for field, value in chosen}
    )
)
MANAGER_PROPERTIES = st.fixed_dictionaries(
    {
        "Version": STRINGS.map(lambda text: Variant("s", text)),
        "Paused": st.booleans().map(lambda flag: Variant("b", flag)),
        "Running": st.integers(0, 9).map(lambda number: Variant("u", number)),
        "Queued": st.integers(0, 9).map(lambda number: Variant("u", number)),
        "Repos": st.lists(STRINGS | st.just("web"), max_size=3).map(lambda names: Variant("as", names)),
    }
)
ANSWERS = {
    "ListJobs": ROWS.map(lambda rows: ("a(sssso)", [[[JOB, "web", "refs/heads/main", "succeeded", PATH], *rows]])),
    "ListRepos": REPOS.map(lambda rows: ("a(sssasas)", [rows])),
    "GetJob": st.just(("o", [PATH])),
    "Retry": st.just(("o", [PATH])),
    "Cancel": st.just(("", [])),
    "ReadOutput": st.tuples(STRINGS, LINES, STATES).map(lambda body: ("sass", list(body))),
    "ReadEvents": st.tuples(STRINGS, st.booleans(), EVENTS).map(lambda body: ("sbaa{ss}", list(body))),
    "JobProperties": JOB_PROPERTIES.map(lambda values: ("a{sv}", [values])),
    "ManagerProperties": MANAGER_PROPERTIES.map(lambda values: ("a{sv}", [values])),
    "Error": STRINGS.map(lambda text: ("s", [text])),
}
HONEST = st.fixed_dictionaries(ANSWERS)
MUTATED = st.tuples(HONEST, st.dictionaries(st.sampled_from([*ANSWERS]), BODIES, min_size=1, max_size=2)).map(
    lambda each: each[0] | each[1]
)
PARTLY = st.tuples(
    HONEST,
    st.fixed_dictionaries(
        {
            "JobProperties": st.dictionaries(STRINGS | st.just("Started"), variants(), max_size=4).map(
                lambda values: ("a{sv}", [values])
            ),
            "ManagerProperties": st.dictionaries(st.sampled_from(["Repos", "Paused", "x"]), variants(), max_size=4).map(
                lambda values: ("a{sv}", [values])
            ),
        }
    ),
).map(lambda each: each[0] | each[1])
COMMAND_LINES = st.sampled_from(
    [
        *(
            "jobs",
            "jobs --json",
            "jobs web",
            "show @",
            "show @ --json",
            "log @",
            "events",
            "events --json",
            "events web",
        ),
        *("repos", "repos --json", "status", "status --json", "retry @", "cancel @", f"show {JOB}", "show nothing"),
    ]
).map(str.split)


class Terminal(io.StringIO):
    """A terminal, or a pipe."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        raise OSError("no file")

    @property
    def buffer(self) -> "Terminal":
        return self

    def write(self, text: str | bytes) -> int:
        return super().write(text if isinstance(text, str) else text.decode("utf-8", "surrogateescape"))


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    peer = Peer(tmp_path / "bus")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", peer.address)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield peer
    peer.close()


def answer_once(daemon: Peer, answers: dict[str, Any]) -> None:
    """Answer each question so; the second time a long poll has no news, as there is an end to it."""
    asked: set[str] = set()

    def answer(call: Message) -> list[Message | bytes]:
        name = call.member
        if name == "GetAll":
            name = "JobProperties" if call.body[0].endswith("Job") else "ManagerProperties"
        if name == "Get":
            properties = answers["JobProperties" if call.body[0].endswith("Job") else "ManagerProperties"][1]
            value = properties[0].get(call.body[1]) if properties and isinstance(properties[0], dict) else None
            return [reply(call, ("v", [value]) if isinstance(value, Variant) else answers["Error"])]
        if name in asked and name == "ReadOutput":
            return [reply(call, ("sass", ["succeeded 9", [], "succeeded"]))]
        if name in asked and name == "ReadEvents":
            return [reply(call, ("sbaa{ss}", ["9-9", False, []]))]
        asked.add(name)
        if name not in answers:
            return [Message.new_error(call, "org.tinyci1.Error.NoSuchJob", "x")]
        return [reply(call, answers[name])]

    daemon.answer = answer


@border(COMMAND_LINES, st.booleans(), HONEST | MUTATED | PARTLY, few=60)
def test_a_command_prints_what_no_terminal_obeys_or_fails_with_a_sentence(
    daemon: Peer, words: list[str], is_terminal: Any, answers: dict[str, Any]
) -> None:
    answer_once(daemon, answers)
    out, err = Terminal(is_terminal=is_terminal), Terminal(is_terminal=False)
    status: int | str
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        arguments = parser(words[0]).parse_args(words)
        try:
            status = arguments.run(arguments)
        except CommandError as failure:
            status = failure.status
            assert status in (1, 3, 4, 5) and str(failure)
    text = out.getvalue()
    assert not obeyed(SGR.sub("", text) if is_terminal else text, "\n\t")
    assert not is_terminal or all(SGR.findall(line)[-1:] in ([], ["\x1b[0m"]) for line in text.split("\n"))
    assert not obeyed(err.getvalue(), "\n\t")
    if "--json" in words and not status:
        for document in [text] if words[0] != "events" else text.splitlines():
            json.loads(document, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert words[0] in COMMANDS and (answers is not HONEST or isinstance(status, int))


@border(st.sampled_from(["show ", "run ", "run web ", "jobs ", "doctor ", "log 0"]), HONEST | MUTATED, few=30)
def test_a_shell_is_offered_words_in_lines(daemon: Peer, line: str, answers: dict[str, Any]) -> None:
    answer_once(daemon, answers)
    out = Terminal(is_terminal=False)
    with contextlib.redirect_stdout(out):
        complete.run(line.split(" "))
    for offer in out.getvalue().splitlines():
        word, _, description = offer.partition("\t")
        assert not obeyed(word + description)


@border(STRINGS, STRINGS, HONEST | MUTATED, few=40)
def test_who_follows_a_push_is_shown_lines_that_no_terminal_obeys(
    daemon: Peer, monkeypatch: pytest.MonkeyPatch, repo: str, ref: str, answers: dict[str, Any]
) -> None:
    monkeypatch.setattr("tinyci.cli.follower._PATIENCE", -1.0)
    answer_once(daemon, answers)
    out = Terminal(is_terminal=False)
    with contextlib.redirect_stdout(out):
        pushfollow.follow([(JOB, repo, ref)])
    assert not obeyed(out.getvalue(), "\n\t")
    assert out.getvalue().startswith(f"== job {JOB[:8]} of ")
