"""The output of a build is followed to its last line, and never beyond the build: whatever others log, and however it
ended."""

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from fakejournal import FakeJournal, FakeReader
from tinyci.systemd import buildoutput, journal, unitjournal
from tinyci.systemd.buildoutput import BuildOutput
from tinyci.systemd.journal import JournalError
from tinyci.systemd.unitjournal import UnitLine, last_lines, last_words

PATIENCE = 0.5
WITHIN = 3.0
"""Seconds in which an output of this patience has its end, on a busy machine too."""


@pytest.fixture
def fake_journal(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeJournal]:
    fake = FakeJournal()
    monkeypatch.setattr(buildoutput.journal, "Reader", fake.open)
    assert unitjournal.journal is buildoutput.journal
    yield fake
    fake.close()


@asynccontextmanager
async def noise(fake_journal: FakeJournal) -> AsyncIterator[None]:
    """Let somebody else log all the time."""

    async def log() -> None:
        while True:
            fake_journal.store([b"noise"], stream="9", uid=65534)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(log())
    yield
    task.cancel()


async def follow(end: asyncio.Event, patience: float = PATIENCE) -> list[str]:
    lines = []
    async for batch in BuildOutput("first", "last", 1001).follow(end, patience):
        lines += batch
    return lines


def ended() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@pytest.mark.asyncio
@pytest.mark.parametrize("stored", [(), (b"first",), (b"first", b"printed")])
async def test_a_killed_build_ends_however_much_others_log(
    fake_journal: FakeJournal, stored: tuple[bytes, ...]
) -> None:
    fake_journal.store(stored)
    async with noise(fake_journal), asyncio.timeout(WITHIN):
        assert await follow(ended()) == [line.decode() for line in stored[1:]]


@pytest.mark.asyncio
async def test_an_output_that_journald_stores_late_is_read_to_its_last_line(fake_journal: FakeJournal) -> None:
    fake_journal.store([b"first"])

    async def store_late() -> None:
        for number in range(10):  # in all, longer than the patience for one line
            await asyncio.sleep(PATIENCE / 4)
            fake_journal.store([b"%d" % number])
        fake_journal.store([b"last", b"of somebody who has the stream"])

    async with noise(fake_journal), asyncio.TaskGroup() as group:
        group.create_task(store_late())
        assert await follow(ended()) == [str(number) for number in range(10)]


@pytest.mark.asyncio
async def test_all_of_a_chatty_build_is_read_after_its_end(fake_journal: FakeJournal) -> None:
    lines = [b"%d" % number for number in range(20_000)]
    fake_journal.store([b"first", *lines, b"last"])
    assert await follow(ended()) == [line.decode() for line in lines]


@pytest.mark.asyncio
async def test_a_build_that_prints_without_end_takes_a_share_of_the_processor(
    fake_journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buildoutput, "_BURST", 0.02)
    fake_journal.store([b"first", *(b"%d" % number for number in range(200_000))])
    begin, used, count = time.monotonic(), time.thread_time(), 0
    async for batch in BuildOutput("first", "last", 1001).follow(asyncio.Event(), PATIENCE):
        count += len(batch)
        if time.thread_time() - used > 0.3:
            break
    assert 0 < count < 200_000
    assert time.monotonic() - begin > 2 * (time.thread_time() - used), "it goes by a quarter"


@pytest.mark.asyncio
async def test_who_has_the_stream_of_an_ended_build_cannot_keep_it_going(
    fake_journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buildoutput, "_LATEST", 1.0)
    fake_journal.store([b"first"])

    async def print_on() -> None:
        while True:
            fake_journal.store([b"still here"])
            await asyncio.sleep(0.02)

    printing = asyncio.create_task(print_on())
    async with asyncio.timeout(1.0 + WITHIN):
        assert await follow(ended())
    printing.cancel()


@pytest.mark.asyncio
async def test_the_first_line_of_a_process_without_a_stream_is_not_the_builds(fake_journal: FakeJournal) -> None:
    fake_journal.store([b"first"], stream="", _TRANSPORT="journal")
    fake_journal.store([b"first", b"printed", b"last"], stream="2")
    assert await follow(ended()) == ["printed"]


@pytest.mark.asyncio
async def test_a_first_line_that_takes_long_to_find_holds_nobody_up(
    fake_journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buildoutput, "_find_stream", lambda *_: time.sleep(2.0) or "")
    begin, turns = time.monotonic(), 0
    task = asyncio.create_task(follow(ended()))
    while not task.done():
        turns += 1
        await asyncio.sleep(0.01)
    assert time.monotonic() - begin < 1.5
    assert turns > 10


@pytest.mark.asyncio
async def test_a_first_line_that_comes_late_is_looked_for_less_and_less_often(
    fake_journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: asyncio.Queue[float] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def find_nothing(first: str, uid: int) -> str:
        loop.call_soon_threadsafe(looks.put_nowait, time.monotonic())
        return ""

    monkeypatch.setattr(buildoutput, "_find_stream", find_nothing)
    unit_end = asyncio.Event()
    task = asyncio.create_task(follow(unit_end, patience=0.0))
    times = [await looks.get() for _ in range(3)]
    assert times[1] - times[0] >= 0.19
    assert times[2] - times[1] >= 0.39
    unit_end.set()
    assert await task == []


@pytest.mark.asyncio
async def test_the_descriptor_of_the_news_is_closed_by_a_thread_and_after_the_reader(
    fake_journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one of an inotify instance takes the kernel some milliseconds, in which no deploy would go on."""
    steps: list[str] = []
    loop, is_closed, close = asyncio.get_running_loop(), asyncio.Event(), os.close

    def note_and_close(descriptor: int) -> None:
        steps.append("by a thread" if threading.current_thread() is not threading.main_thread() else "by the loop")
        close(descriptor)
        loop.call_soon_threadsafe(is_closed.set)

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", note_and_close)
        patch.setattr(FakeReader, "__exit__", lambda *_: steps.append("reader"))
        with journal.reader_with_news():
            assert steps == []
        async with asyncio.timeout(WITHIN):
            await is_closed.wait()
    assert steps == ["reader", "by a thread"]


@pytest.mark.asyncio
async def test_a_journal_that_cannot_be_read_is_told_when_the_build_has_ended(fake_journal: FakeJournal) -> None:
    fake_journal.error = OSError(errno.EMFILE, "Too many open files")
    with pytest.raises(JournalError, match="the journal cannot be read: Too many open files"):
        await follow(ended())
    lines = await last_lines("web.service", 1001, 4711, 60.0)
    assert lines == [UnitLine("[tinyci: the journal cannot be read: Too many open files]", is_own=False)]


@pytest.mark.asyncio
async def test_a_journal_that_can_be_read_again_before_the_end_loses_nothing(fake_journal: FakeJournal) -> None:
    fake_journal.error = OSError(errno.EMFILE, "Too many open files")
    fake_journal.store([b"first", b"printed", b"last"])
    task = asyncio.create_task(follow(asyncio.Event()))
    await asyncio.sleep(0.3)
    fake_journal.error = None
    async with asyncio.timeout(WITHIN):
        assert await task == ["printed"]


@pytest.mark.asyncio
async def test_a_unit_whose_journal_is_full_of_podmans_account_is_not_read_for_ever(fake_journal: FakeJournal) -> None:
    fake_journal.store([b"it fell"], SYSLOG_IDENTIFIER="web")
    fake_journal.store([b"created"] * 20_000, SYSLOG_IDENTIFIER="web", PODMAN_EVENT="create")
    assert await last_lines("web.service", 1001, 4711, 60.0, patience=0) == []
    assert fake_journal.steps == 5000
    fake_journal.store([b"and said so"], SYSLOG_IDENTIFIER="web")
    assert await last_lines("web.service", 1001, 4711, 60.0, patience=0) == [UnitLine("and said so")]


@pytest.mark.asyncio
async def test_a_line_of_a_main_process_that_ended_before_journald_looked_is_the_units(
    fake_journal: FakeJournal,
) -> None:
    fake_journal.store([b"no disk"], SYSLOG_IDENTIFIER="sh", _PID="4711")
    fake_journal.store([b"of another"], SYSLOG_IDENTIFIER="sh", _PID="4712")
    fake_journal.store([b"of another user"], uid=1002, SYSLOG_IDENTIFIER="sh", _PID="4711")
    assert await last_lines("web.service", 1001, 4711, 60.0, patience=0) == [UnitLine("no disk")]
    assert await last_lines("web.service", 1001, 0, 60.0, patience=0) == []


@pytest.mark.asyncio
async def test_lines_of_a_unit_are_of_the_time_that_is_asked_for_whatever_was_done_to_the_clock(
    fake_journal: FakeJournal,
) -> None:
    fake_journal.store([b"before"], SYSLOG_IDENTIFIER="web")
    fake_journal.entries[0] = (time.monotonic() - 100.0, fake_journal.entries[0][1])
    fake_journal.store([b"since"], SYSLOG_IDENTIFIER="web")
    assert await last_lines("web.service", 1001, 4711, 60.0, patience=0) == [UnitLine("since")]
    assert await last_lines("web.service", 1001, 4711, 200.0, patience=0) == [UnitLine("before"), UnitLine("since")]


STOPPING, STOPPED = "de5b426a63be47a7b6ac3eaac82e2f6f", "9d1aaa27d60140bd96365438aad20286"


@pytest.mark.asyncio
async def test_lines_of_a_unit_are_those_of_its_new_start(fake_journal: FakeJournal) -> None:
    web = {"SYSLOG_IDENTIFIER": "web"}
    fake_journal.store([b"old"], **web)
    fake_journal.store([b"Stopping"], **web, MESSAGE_ID=STOPPING, USER_UNIT="web.service")
    fake_journal.store([b"the old one ends"], **web)
    fake_journal.store([b"Stopped"], **web, MESSAGE_ID=STOPPED, USER_UNIT="web.service")
    fake_journal.store([b"new", b"fell"], **web)
    # Where systemd starts it again by itself, it tells that it has stopped, and that it stops, not.
    fake_journal.store([b"Stopped"], **web, MESSAGE_ID=STOPPED, USER_UNIT="web.service")
    fake_journal.store([b"fell again"], **web)
    lines = await last_lines("web.service", 1001, 4711, 60.0, patience=0)
    assert [line.text for line in lines] == ["new", "fell", "Stopped", "fell again"]
    assert [line.is_own for line in lines] == [True, True, False, True]
    assert [line.text for line in await last_lines("web.service", 1001, 4711, 60.0, most=1, patience=0)] == [
        "fell again"
    ]


@pytest.mark.asyncio
async def test_lines_of_a_unit_are_without_those_that_podman_prints_in_its_name(fake_journal: FakeJournal) -> None:
    lines = [b"c" * 64, b"no disk\n", b"", b"conmon " + b"c" * 20 + b" <nwarn>: Failed to open cgroups file"]
    fake_journal.store(lines, SYSLOG_IDENTIFIER="web")
    assert await last_lines("web.service", 1001, 4711, 60.0, patience=0) == [UnitLine("no disk")]


def test_the_last_words_of_a_unit_are_its_own_or_else_such_of_systemds_that_tell_more() -> None:
    failed = UnitLine("web.service: Failed with result 'exit-code'.", is_own=False)
    step = UnitLine("web.service: Failed at step EXEC spawning /none: No such file or directory", is_own=False)
    assert last_words("web.service", [UnitLine("no disk"), step, failed]) == "; web.service printed last: no disk"
    assert last_words("web.service", [step, failed]) == f"; systemd says: {step.text}"
    assert last_words("web.service", [failed]) == ""
