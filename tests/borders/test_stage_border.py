"""What the daemon, the journal and a web server tell a stage or of one: a job of root's configuration, whole lines in
bounded pieces, or one sentence."""

import json
import logging
import os
import pwd
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import BYTES, FROM_BYTES, TEXT, border, mutations
from hypothesis import strategies as st
from tinyci.daemon.output import Tail
from tinyci.log import JournalHandler, fields
from tinyci.model.job import Job
from tinyci.model.repo import Repo
from tinyci.model.stagecontract import STAGES, Status, dump_job, stage_of, unit_name
from tinyci.stage import healthurl, stagejob
from tinyci.stage.status import StageError
from tinyci.systemd.buildoutput import LineJoiner

JOB = Job("0b2e4f6c-cca8-41ec-8c59-67453021b8a9", "web", "refs/heads/main", "a" * 40)
GOOD = dump_job(JOB)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**50), 10**50) | st.floats() | FROM_BYTES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FILES = st.one_of(
    BYTES,
    mutations(GOOD.encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["id", "repo", "ref", "revision", "rollback_to", "state", "user"]), JSON).map(
        lambda changes: json.dumps(json.loads(GOOD) | changes).encode()
    ),
    st.sampled_from(
        [b"[" * 100_000, b'{"id":' * 50_000, b"9" * 100_000, b"\0" * 1_000_000, b'{"id": 1e999}', b"\xff\xfe{"]
    ),
)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    user = pwd.getpwuid(os.geteuid()).pw_name
    (tmp_path / "etc" / "repos.d").mkdir(parents=True)
    (tmp_path / "etc" / "repos.d" / "web.toml").write_text(f'repository = "/srv/web.git"\nuser = "{user}"\n')
    (tmp_path / "etc" / "repos.d" / "other.toml").write_text('repository = "/srv/other.git"\nuser = "nobody2"\n')
    (tmp_path / "jobs").mkdir()
    monkeypatch.setenv("TINYCI_ETC", str(tmp_path / "etc"))
    monkeypatch.setenv("TINYCI_JOBS", str(tmp_path / "jobs"))
    return tmp_path / "jobs"


@border(st.just(JOB.hex) | TEXT.filter(lambda text: "\0" not in text), FILES, few=100)
def test_a_stage_has_a_job_of_roots_configuration_or_says_why_not(jobs: Path, instance: str, content: bytes) -> None:
    (jobs / f"{JOB.hex}.json").write_bytes(content)
    try:
        job, repo = stagejob.load(instance)
    except StageError as error:
        assert "\n" not in str(error) and len(str(error)) < 600 + 2 * len(instance)
        assert len(str(Status("failed", str(error))).encode()) <= 3000
        return
    assert (job.hex, repo.repository) == (instance, "/srv/web.git")
    assert Job.parse(job.id, {name: getattr(job, name) for name in ("repo", "ref", "revision", "rollback_to")}) == job


@pytest.mark.parametrize("kind", ["pipe", "link", "directory"])
def test_a_job_file_of_another_kind_holds_no_stage_up(jobs: Path, kind: str) -> None:
    path = jobs / f"{JOB.hex}.json"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
    with pytest.raises(StageError, match="cannot be read"):
        stagejob.load(JOB.hex)


@border(st.sampled_from(STAGES), st.uuids().map(lambda each: each.hex), few=20)
def test_a_stage_is_known_by_its_unit(stage: str, instance: str) -> None:
    assert stage_of(unit_name(stage, instance)) == stage


@border(st.lists(st.tuples(BYTES, st.booleans()), max_size=8), st.integers(1, 100), st.integers(2, 300), few=100)
def test_what_the_journal_has_is_shown_whole_and_its_tail_is_bounded(
    messages: list[tuple[bytes, bool]], longest: int, tail_size: int
) -> None:
    joiner, tail = LineJoiner(longest), Tail(tail_size)
    lines: list[str] = []
    for message, continues in messages:
        part = joiner.add(message, continues=continues)
        assert len(part) <= 1 and (part or continues)
        lines += part
    lines += joiner.rest()
    whole = b"".join(message for message, _ in messages).decode("utf-8", "backslashreplace")
    assert joiner.rest() == []
    if all(message.isascii() for message, _ in messages):
        assert "".join(lines) == whole
    tail.extend(lines)
    assert len(tail.text().encode()) <= tail_size + 60
    text = "".join(f"{line}\n" for line in lines)
    assert tail.text() == text or tail.text().startswith("[tinyci: cut;")
    assert text.endswith(tail.text().partition("]\n")[2]) or tail.text() == text or tail_size < 5


@border(FROM_BYTES, FROM_BYTES, FROM_BYTES, few=100)
def test_the_journal_takes_any_text_as_one_entry(job: str, repo: str, text: str) -> None:
    sent: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("systemd.journal.send", lambda message, **more: sent.append({"MESSAGE": message, **more}))
        record = logging.LogRecord("tinyci", logging.ERROR, "x.py", 1, "job %s: %s", (job, text), None)
        record.__dict__.update(fields(job=job, repo=repo))
        JournalHandler("tinyci").emit(record)
    (entry,) = sent
    for name, value in entry.items():
        assert name.replace("_", "").isalnum() and name.isupper()
        str(value).encode()
    assert entry.get("TINYCI_JOB", "") == job.encode("utf-8", "backslashreplace").decode()


ANSWERS = st.one_of(
    BYTES,
    mutations(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nLocation: http://x/\r\n\r\nOK"),
    st.tuples(st.integers(0, 999), BYTES).map(lambda each: b"HTTP/1.1 %03d %s\r\n\r\n" % (each[0], each[1][:100])),
    st.sampled_from(
        [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"HTTP/1.1 200 " + b"x" * 70_000, b"\0" * 70_000]
    ),
)


@pytest.fixture
def web() -> Iterator[tuple[str, list[bytes]]]:
    """The URL of a server, and what it answers."""
    answer = [b""]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer[0])
                except OSError:
                    if server.fileno() < 0:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", answer
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def url_problem(url: str) -> str:
    """Return the problem of a health URL, also one that ends the job at once."""
    try:
        return healthurl.problem(Repo.placeholder("web", "web")._replace(health=url))
    except StageError as error:
        return str(error)


@border(ANSWERS, few=40)
def test_a_health_url_answers_2xx_or_has_a_problem(web: tuple[str, list[bytes]], data: bytes) -> None:
    url, answer = web
    answer[0] = data
    problem = url_problem(url)
    assert problem == "" or problem.startswith(f"{url} ")
    if problem == "":
        assert b" 2" in data or data.startswith(b"HTTP/")
    assert len(problem) < 70_000


@border(
    TEXT | st.sampled_from(["[", "[::1", "a:99999999999", "a:-1", "9" * 30, "99999", "1e3", "1:2", "%", "\x7f"]),
    few=60,
)
def test_a_health_url_that_is_none_has_a_problem(text: str) -> None:
    url = f"http://127.0.0.1:{text}/" if text[:1].isdigit() else f"http://{text.replace('/', '')}.invalid:1/"
    with pytest.MonkeyPatch.context() as patch:
        if not url.startswith("http://127.0.0.1"):
            patch.setattr(socket, "getaddrinfo", _nobody)
        assert url_problem(url).startswith(url) or text.isdecimal()


def _nobody(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(-2, "Name or service not known")
