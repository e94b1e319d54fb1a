"""Whatever is pushed, and whatever answers at Redis' socket: a job is as it was pushed, or its pusher is told that
there is none."""

import contextlib
import hashlib
import io
import os
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases import BYTES, FROM_BYTES, border, mutations, obeyed
from hypothesis import strategies as st
from tinyci.daemon import spool
from tinyci.hook import commit, post_receive, pusher
from tinyci.hook.jobqueue import JobQueue
from tinyci.hook.resp import RespConnection, RespError
from tinyci.model.job import Job, JobError, is_id

NULL = "0" * 40


def without(text: str, characters: str) -> str:
    """Return a text as git hands it over, without some characters: bytes that were apart may be one character then."""
    return os.fsdecode(os.fsencode("".join(each for each in text if each not in characters)))


WORDS = FROM_BYTES.map(lambda text: without(text, "\n\0"))
"""Texts that git can hand over: no file name and no line of git's has a NUL."""
REFS = WORDS.map(lambda text: text[:4000]) | st.sampled_from(
    ["refs/heads/main", "refs/heads/\x9b31m\u202emain", "refs/heads/\udcff"]
)
REVISIONS = st.sampled_from([NULL, "a" * 40, "b" * 64, "0" * 64, "", "tip"]) | WORDS.map(lambda text: text[:80])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bare repository of two repos, of which one deploys every ref; there is no Redis."""
    directory, etc, spool_directory = tmp_path / "web.git", tmp_path / "etc", tmp_path / "spool"
    (directory / "objects").mkdir(parents=True)
    (etc / "repos.d").mkdir(parents=True)
    spool_directory.mkdir()
    for name, ref in (("all", "refs/*"), ("web", "refs/heads/main")):
        (etc / "repos.d" / f"{name}.toml").write_text(f'repository = "{directory}"\nuser = "web"\nrefs = ["{ref}"]\n')
    (etc / "tinyci.toml").write_text(f'[redis]\nsocket = "{tmp_path}/none.sock"\n')
    monkeypatch.setenv("TINYCI_ETC", str(etc))
    monkeypatch.setenv("TINYCI_SPOOL", str(spool_directory))
    monkeypatch.setenv("GIT_DIR", str(directory))
    monkeypatch.setenv("GIT_PUSH_OPTION_COUNT", "0")
    monkeypatch.setattr(commit, "_message_from_git", lambda *_: b"")  # git would be started for each case
    return directory


class Streams(io.TextIOWrapper):
    """A standard stream of bytes in memory."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")


def pushed(lines: bytes) -> str:
    """Run the hook with those lines, and return all that the pusher is told."""
    out, before = Streams(), (sys.stdin, sys.stdout)
    sys.stdin, sys.stdout = Streams(lines), out
    try:
        post_receive.main()
    finally:
        sys.stdin, sys.stdout = before
    out.flush()
    return out.buffer.getvalue().decode("utf-8", "surrogateescape")  # type: ignore[attr-defined, no-any-return]


def kept(repository: Path) -> Iterator[spool.SpoolFile]:
    directory = repository.parent / "spool"
    for spool_file in spool.read(str(directory)):
        yield spool_file
        spool_file.path.unlink()
    assert not os.listdir(directory)


@border(st.lists(st.tuples(REVISIONS, REVISIONS, REFS), max_size=3), WORDS | st.just("a" * 70_000), few=60)
def test_a_job_is_what_was_pushed_also_through_the_spool(
    repository: Path, monkeypatch: pytest.MonkeyPatch, lines: list[tuple[str, str, str]], who: str
) -> None:
    monkeypatch.setenv("TINYCI_PUSHER", who)
    lines = [(without(old, " "), without(new, " "), ref) for old, new, ref in lines]
    told = pushed(b"".join(os.fsencode(f"{old} {new} {ref}\n") for old, new, ref in lines))
    jobs = list(kept(repository))
    wanted = [
        (name, old, new, ref)
        for old, new, ref in lines
        for name in ("all", "web")
        if new.strip("0") and (ref == "refs/heads/main" if name == "web" else ref.startswith("refs/"))
    ]
    assert [
        (job.fields["repo"], job.fields["previous"], job.fields["revision"], job.fields["ref"]) for job in jobs
    ] == wanted
    for job in jobs:
        assert is_id(job.id) and not job.problem
        assert not who or job.fields["pusher"] == who[:300]
        with contextlib.suppress(JobError):
            assert Job.parse(job.id, job.fields).ref == job.fields["ref"]
    # A line for each repo and ref, and none of them moves the terminal at the other end.
    assert len(told.splitlines()) >= 2 * len(lines)
    assert not obeyed(told, "\n\t")


@border(BYTES, few=100)
def test_lines_that_git_does_not_write_are_no_traceback(repository: Path, data: bytes) -> None:
    told = pushed(data)
    for job in kept(repository):
        assert job.id and not job.problem and job.id in told
    assert not obeyed(told, "\n\t")


OPTIONS = st.lists(st.sampled_from(pusher.OPTIONS) | WORDS.map(lambda text: text[:1000]), max_size=5)


@border(OPTIONS, st.none() | WORDS, few=100)
def test_a_push_has_the_options_that_it_was_given_and_no_others(
    monkeypatch: pytest.MonkeyPatch, options: list[str], count: str | None
) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_PUSH_OPTION_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_PUSH_OPTION_COUNT", str(len(options)) if count is None else count)
    for number, option in enumerate(options):
        monkeypatch.setenv(f"GIT_PUSH_OPTION_{number}", option)
    out = Streams()
    with contextlib.redirect_stdout(out):
        accepted = pusher.options()
    out.flush()
    told = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert accepted <= set(options)
    if count is None:
        assert accepted == set(options)
        assert told.count("there is no push option") == sum(option not in pusher.OPTIONS for option in options)
    assert not obeyed(told, "\n\t")


EMPTY_TREE = b"4b825dc642cb6eb9a060e54bf8d69288fbee4904"
COMMIT = (
    b"tree "
    + b"a" * 40
    + b"\nauthor A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n\nSubject [skip ci]\n"
)


def store(repository: Path, author: bytes, message: bytes) -> str:
    """Write a commit as git does, whatever its author is called; return its revision."""
    author = author.replace(b"\n", b"").replace(b"\0", b"")
    text = b"tree %s\nauthor %s\ncommitter %s\n\n%s" % (EMPTY_TREE, author, author, message)
    whole = b"commit %d\0%s" % (len(text), text)
    revision = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    (repository / "objects" / revision[:2]).mkdir(parents=True, exist_ok=True)
    (repository / "objects" / revision[:2] / revision[2:]).write_bytes(zlib.compress(whole))
    return revision


@border(BYTES, BYTES, BYTES, few=100)
def test_the_message_of_a_commit_is_its_message_whoever_wrote_it(
    repository: Path, author: bytes, subject: bytes, body: bytes
) -> None:
    whole = subject + b"\n\n" + body
    message = commit.message(str(repository), store(repository, author, whole))
    assert whole.startswith(message)
    assert len(message) >= min(len(whole), (1 << 16) - 2 * len(author) - 200)
    word = commit.skip_word(message)
    assert word in ("", "[skip ci]", "[ci skip]")
    assert bool(word) == any(each in message.lower() for each in (b"[skip ci]", b"[ci skip]"))


@border(BYTES, BYTES, few=15)
def test_what_git_says_of_a_commit_is_its_message(tmp_path: Path, author: bytes, body: bytes) -> None:
    git_dir = tmp_path / "real.git"
    if not git_dir.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", str(git_dir)], check=True)
    revision = store(git_dir, author, body.replace(b"\0", b"") + b" [skip ci]")
    message = commit._message_from_git(str(git_dir), revision)
    assert len(message) <= 1 << 16
    assert commit.skip_word(message) or len(body) > 60_000 or b"encoding" in body
    assert commit._message_from_git(str(git_dir), "d" * 40) == b""


@border(mutations(zlib.compress(b"commit 9\0" + COMMIT)) | BYTES, few=100)
def test_an_object_that_is_none_has_no_message(repository: Path, data: bytes) -> None:
    (repository / "objects" / "cc").mkdir(exist_ok=True)
    (repository / "objects" / "cc" / ("c" * 38)).write_bytes(data)
    assert len(commit.message(str(repository), "c" * 40)) <= 1 << 16


ANSWERS = st.one_of(
    BYTES,
    mutations(b"+OK\r\n+QUEUED\r\n*3\r\n:1\r\n-ERR x\r\n*-1\r\n"),
    st.lists(
        st.sampled_from(
            [b"*1\r\n", b"*", b"\r\n", b":1\r\n", b"+OK\r\n", b"-ERR \xff\r\n", b"*2\r\n", b"*-7\r\n", b"$-1\r\n"]
        ),
        max_size=12,
    ).map(b"".join),
    st.sampled_from(
        [b"*1\r\n" * 5000, b"*999999999\r\n" + b":1\r\n" * 50, b"x" * 300_000, b"*" + b"9" * 5000 + b"\r\n"]
    ),
)


@border(ANSWERS, few=100)
def test_whatever_redis_says_is_a_reply_or_one_of_three_errors(data: bytes) -> None:
    connection, (ours, theirs) = RespConnection(), socket.socketpair()
    connection.close()
    connection._socket = socket.socket(fileno=ours.detach())  # type: ignore[assignment]
    writer = threading.Thread(target=_write, args=(theirs, data))
    writer.start()
    connection.set_timeout(5)
    try:
        for _ in range(data.count(b"\n") + 1):
            try:
                assert isinstance(connection.reply(), bytes | list | None)
            except RespError as error:
                assert isinstance(str(error), str)
        raise AssertionError("there was more than was said")
    except (OSError, ValueError):
        pass
    finally:
        connection.close()
        writer.join()


def _write(theirs: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError), theirs:
        theirs.sendall(data)


@pytest.fixture
def lying_redis(repository: Path) -> Iterator[list[bytes]]:
    """A server that answers each connection with the bytes in the list, whatever is asked."""
    answer = [b""]
    path = repository.parent / "none.sock"
    (repository.parent / "etc" / "credentials").mkdir()
    (repository.parent / "etc" / "credentials" / "redis-hook").write_text("secret")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    _write(connection, answer[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield answer
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@border(ANSWERS.map(lambda data: data[:5000]), few=60)
def test_a_push_that_redis_does_not_take_is_kept_and_no_job_is_lost_or_doubled(
    repository: Path, lying_redis: list[bytes], data: bytes
) -> None:
    lying_redis[0] = data
    out = Streams()
    with contextlib.redirect_stdout(out), JobQueue(os.environ["TINYCI_ETC"]) as queue:
        queue.add("web", "refs/heads/main", "a" * 40, NULL)
        queue.add("all", "refs/heads/main", "a" * 40, NULL)
    started, files = [job_id for job_id, _, _ in queue.started], [job.id for job in kept(repository)]
    assert files == queue.spooled
    assert len({*started, *files}) == len(started) + len(files) == 2
    if started:  # only who answered AUTH, and MULTI with each command, and EXEC with its results, has taken it
        assert data.count(b"\r\n") >= 6 and b"*3\r\n" in data
